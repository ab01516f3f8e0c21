//! A connection out of a recording, as the engine's transport.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::script::Script;
use super::watch::{Way, preview};
use crate::engine::Transport;
use crate::proxy::forwarded::Announced;
use crate::proxy::networks::Hop;
use crate::record::{Call, Failure, Sum};

/// The one script of all connections.
#[derive(Clone)]
pub(super) struct Stage(Arc<Mutex<Script>>);

impl Stage {
    pub(super) fn new(script: Script) -> Self {
        Self(Arc::new(Mutex::new(script)))
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
pub(super) struct Played {
    stage: Stage,
    conn: u64,
    addr: Option<SocketAddr>,
    hop: Hop,
    announced: Cell<Announced>,
    held: Cell<usize>,
    sent: Sum,
}

impl Played {
    pub(super) fn new(
        stage: Stage,
        conn: u64,
        (addr, hop, announced): (Option<SocketAddr>, Hop, Announced),
        has_bodies: bool,
    ) -> Self {
        let (announced, held, sent) = (Cell::new(announced), Cell::new(0), Sum::new(has_bodies));
        Self { stage, conn, addr, hop, announced, held, sent }
    }
}

impl Transport for Played {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let is_it = |call: &Call<'_>| matches!(call, Call::Shut(_));
        match self.stage.script().call(self.conn, is_it, || "its side is ended".to_owned()) {
            Some(Call::Shut(true)) => Ok(()),
            _ => Err(ErrorKind::Other.into()),
        }
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    fn held(&self) -> usize {
        if let Some(Call::Held(held)) =
            self.stage.script().change(self.conn, |call| matches!(call, Call::Held(_)))
        {
            self.held.set(held as usize);
        }
        self.held.get()
    }

    fn hop(&self) -> Hop {
        self.hop
    }

    fn announced(&self) -> Announced {
        if let Some(Call::Announced(announced)) =
            self.stage.script().change(self.conn, |call| matches!(call, Call::Announced(_)))
        {
            self.announced.set(announced);
        }
        self.announced.get()
    }

    fn resume(&mut self) -> io::Result<()> {
        let failed = self.stage.script().change(self.conn, |call| matches!(call, Call::NotResumed));
        if failed.is_some() { Err(ErrorKind::Other.into()) } else { Ok(()) }
    }
}

impl Read for Played {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let script = &mut *self.stage.script();
        let is_it = |call: &Call<'_>| matches!(call, Call::Read(_) | Call::NotRead(_));
        match script.call(self.conn, is_it, || "a read".to_owned()) {
            Some(Call::Read(bytes)) => {
                let Some(place) = buffer.get_mut(..bytes.len()) else {
                    let (recorded, fits) = (bytes.len(), buffer.len());
                    script.differ(
                        Some(self.conn),
                        format!("a read of {recorded} bytes"),
                        format!("a read of {fits} bytes at most"),
                    );
                    return Err(ErrorKind::Other.into());
                };
                place.copy_from_slice(&bytes);
                let (turn, at_ns) = (script.turns, script.at_ns);
                if let Some(watch) = &mut script.watch {
                    watch.see(self.conn, Way::Sent, &bytes, (turn, at_ns));
                }
                Ok(bytes.len())
            }
            Some(Call::NotRead(why)) => Err(error(why)),
            _ => Err(ErrorKind::Other.into()),
        }
    }
}

impl Write for Played {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let script = &mut *self.stage.script();
        let offered = bytes.len() as u64;
        let is_it = |call: &Call<'_>| match call {
            Call::Write(recorded, ..) | Call::NotWritten(recorded, _) => *recorded == offered,
            _ => false,
        };
        let did = || format!("a write of {offered} bytes: {}", preview(bytes));
        match script.call(self.conn, is_it, did) {
            Some(Call::Write(_, taken, sum)) => {
                let taken = &bytes[..(taken as usize).min(bytes.len())];
                self.sent.add(taken);
                if self.sent.value() != sum {
                    let len = taken.len();
                    script.differ(
                        Some(self.conn),
                        format!("a write of {len} bytes, checksum {sum:08x}"),
                        format!(
                            "a write of {len} other bytes, checksum {:08x}: {}",
                            self.sent.value(),
                            preview(taken)
                        ),
                    );
                    return Err(ErrorKind::Other.into());
                }
                let (turn, at_ns) = (script.turns, script.at_ns);
                if let Some(watch) = &mut script.watch {
                    watch.see(self.conn, Way::Got, taken, (turn, at_ns));
                }
                Ok(taken.len())
            }
            Some(Call::NotWritten(_, why)) => Err(error(why)),
            _ => Err(ErrorKind::Other.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let is_it = |call: &Call<'_>| matches!(call, Call::Gone);
        self.stage.script().call(self.conn, is_it, || "it is let go".to_owned());
    }
}

fn error(why: Failure) -> io::Error {
    match why {
        Failure::WouldBlock => ErrorKind::WouldBlock,
        Failure::Interrupted => ErrorKind::Interrupted,
        Failure::Broken => ErrorKind::Other,
    }
    .into()
}

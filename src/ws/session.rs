//! An open connection's incoming side: from bytes to messages and control frames, RFC 6455 §5 and §6.2.

use std::borrow::Cow;

use super::close::CloseReason;
use super::deflate::Inflater;
use super::extension::DeflateParams;
use super::frame::{FrameHeader, HeaderReader, Opcode};
use super::message::{Assembly, Received};
use super::violation::Violation;
use crate::input::Input;
use crate::spare::Spares;

/// What the peer sent, once it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'i> {
    /// A text or binary message.
    Message(Received<'i>),
    /// A Ping, with the payload that its Pong repeats (§5.5.2).
    Ping(Cow<'i, [u8]>),
    /// A Pong, asked for or not (§5.5.3).
    Pong(Cow<'i, [u8]>),
    /// A Close, with the code and reason the peer gave, if it gave one (§5.5.1).
    Close(Option<CloseReason>),
}

/// What a session borrows while it reads, the same for all connections of a loop.
pub struct Workbench<'w> {
    /// The longest message accepted, in bytes after reassembly and inflation.
    pub message_bytes_max: usize,
    /// The decompressor of the loop.
    pub inflater: &'w mut Inflater,
    /// The buffers that long messages are put together in.
    pub spares: &'w mut Spares,
    /// How many more frames are begun, so that others get their turn: each takes its time, however short it is.
    pub frames: usize,
}

/// Reads frames and joins them to messages. Between messages it holds no buffer.
#[derive(Debug, Default)]
pub struct Session {
    header: HeaderReader,
    deflate: Option<DeflateParams>,
    /// Only a Close matters any more.
    discards: bool,
    /// What has begun and not ended; an idle connection has none.
    pending: Option<Box<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// The frame whose payload is still arriving.
    frame: Option<OpenFrame>,
    /// The message whose last fragment has not arrived.
    message: Option<Assembly>,
    /// The payload, so far, of a control frame that came in pieces: at most 125 bytes.
    control: Vec<u8>,
}

#[derive(Debug)]
struct OpenFrame {
    header: FrameHeader,
    remaining: u64,
}

impl Session {
    /// A connection just opened, with what was agreed on compression.
    pub fn new(deflate: Option<DeflateParams>) -> Self {
        Self { deflate, ..Self::default() }
    }

    /// From now on only a Close matters (§7.1.1): messages are passed over, and neither kept nor inflated, so that they
    /// cost no more than their bytes on the wire.
    pub fn discard(&mut self) {
        self.discards = true;
        if let Some(message) = self.pending.as_mut().and_then(|pending| pending.message.as_mut()) {
            *message = Assembly::new(false, message.is_compressed());
        }
    }

    /// What was agreed on compression.
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// Bytes kept of a message in the making.
    pub fn buffered(&self) -> usize {
        let pending = self.pending.as_ref();
        pending.map_or(0, |pending| pending.control.len() + pending.message.as_ref().map_or(0, Assembly::len))
    }

    /// Bytes of memory taken up by a message in the making.
    #[inline]
    pub fn held(&self) -> usize {
        let Some(pending) = &self.pending else { return 0 };
        let message = pending.message.as_ref().map_or(0, Assembly::held);
        size_of::<Pending>() + pending.control.capacity() + message
    }

    /// Takes from `input` until something is whole; `None` once the input is used up, or the bench's frames are.
    ///
    /// A message that lies whole in the input is unmasked there and lent, not copied.
    ///
    /// # Errors
    /// The violation to fail the connection with; the session must not be used again.
    pub fn next<'i>(
        &mut self,
        input: &mut Input<'i>,
        bench: &mut Workbench<'_>,
    ) -> Result<Option<Incoming<'i>>, Violation> {
        loop {
            if self.has_open_frame() {
                match self.continue_frame(input, bench)? {
                    Step::Whole(incoming) => return Ok(Some(incoming)),
                    Step::Starved => return Ok(None),
                    Step::Next => {}
                }
            }
            if bench.frames == 0 {
                return Ok(None);
            }
            let Some(header) = self.header.read(input)? else { return Ok(None) };
            bench.frames -= 1;
            self.check(&header, bench.message_bytes_max)?;
            match self.begin_frame(header, input, bench)? {
                Step::Whole(incoming) => return Ok(Some(incoming)),
                Step::Starved => return Ok(None),
                Step::Next => {}
            }
        }
    }

    fn has_open_frame(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.frame.is_some())
    }

    /// The rules that take more than the header itself: order, extension, size.
    fn check(&self, header: &FrameHeader, message_bytes_max: usize) -> Result<(), Violation> {
        let message = self.pending.as_ref().and_then(|pending| pending.message.as_ref());
        let starts = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        // RFC 7692 §6: RSV1 stands only on the first frame of a message, and only where agreed.
        if header.compressed && !(starts && self.deflate.is_some()) {
            return Err(Violation::ReservedBits);
        }
        match (header.opcode, message) {
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::MessageInsideMessage),
            (Opcode::Continuation, None) => return Err(Violation::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, None) | (Opcode::Continuation, Some(_)) => {}
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
        }
        // Refused from the header, before the payload arrives and before anything is reserved for it.
        let so_far = message.map_or(0, Assembly::len) as u64;
        let is_compressed = header.compressed || message.is_some_and(Assembly::is_compressed);
        let bytes_max = if is_compressed { deflated_max(message_bytes_max) } else { message_bytes_max };
        match so_far.saturating_add(header.len) > bytes_max as u64 {
            true => Err(Violation::MessageTooBig),
            false => Ok(()),
        }
    }

    /// A frame whose payload lies whole in the input is handled where it lies; any other is begun.
    fn begin_frame<'i>(
        &mut self,
        header: FrameHeader,
        input: &mut Input<'i>,
        bench: &mut Workbench<'_>,
    ) -> Result<Step<'i>, Violation> {
        if header.len > input.len() as u64 {
            let pending = self.pending.get_or_insert_default();
            pending.control.clear();
            pending.frame = Some(OpenFrame { header, remaining: header.len });
            return self.continue_frame(input, bench);
        }
        let mut mask = header.mask;
        let payload = input.take(header.len as usize);
        mask.apply(payload);
        match header.opcode {
            Opcode::Text if header.fin && !header.compressed => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Step::Whole(Incoming::Message(Received::Text(text.into())))),
                Err(_) if self.discards => Ok(Step::Next),
                Err(_) => Err(Violation::InvalidUtf8),
            },
            Opcode::Binary if header.fin && !header.compressed => {
                Ok(Step::Whole(Incoming::Message(Received::Binary(Cow::Borrowed(payload)))))
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.push(&header, payload, 0, bench)?;
                self.finish_data(&header, bench)
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => control(header.opcode, Cow::Borrowed(payload)),
        }
    }

    /// Takes what has come of the payload, and ends the frame if that was all.
    fn continue_frame<'i>(
        &mut self,
        input: &mut Input<'i>,
        bench: &mut Workbench<'_>,
    ) -> Result<Step<'i>, Violation> {
        let Some(pending) = &mut self.pending else { return Ok(Step::Next) };
        let Some(mut frame) = pending.frame.take() else { return Ok(Step::Next) };
        let piece = input.take(usize::try_from(frame.remaining).unwrap_or(usize::MAX));
        frame.header.mask.apply(piece);
        frame.remaining -= piece.len() as u64;
        let header = frame.header;
        if header.opcode.is_control() {
            pending.control.extend_from_slice(piece);
        } else {
            self.push(&header, piece, frame.remaining, bench)?;
        }
        match frame.remaining {
            0 if header.opcode.is_control() => self.finish_control(header.opcode),
            0 => self.finish_data(&header, bench),
            _ => {
                self.pending.get_or_insert_default().frame = Some(frame);
                Ok(Step::Starved)
            }
        }
    }

    fn push(
        &mut self,
        header: &FrameHeader,
        piece: &[u8],
        to_come: u64,
        bench: &mut Workbench<'_>,
    ) -> Result<(), Violation> {
        let pending = self.pending.get_or_insert_default();
        let is_text = header.opcode == Opcode::Text;
        let message = pending.message.get_or_insert_with(|| Assembly::new(is_text, header.compressed));
        if self.discards {
            // That one has begun is all that the next fragment has to be checked against.
            return Ok(());
        }
        message.push(piece, to_come, bench.spares)
    }

    fn finish_data<'i>(
        &mut self,
        header: &FrameHeader,
        bench: &mut Workbench<'_>,
    ) -> Result<Step<'i>, Violation> {
        if !header.fin {
            return Ok(Step::Next);
        }
        match self.pending.take().and_then(|pending| pending.message) {
            Some(_) if self.discards => Ok(Step::Next),
            Some(message) => {
                let received = message.finish(bench)?;
                Ok(Step::Whole(Incoming::Message(received)))
            }
            None => Ok(Step::Next),
        }
    }

    fn finish_control<'i>(&mut self, opcode: Opcode) -> Result<Step<'i>, Violation> {
        let pending = self.pending.get_or_insert_default();
        let payload = std::mem::take(&mut pending.control);
        if pending.message.is_none() {
            self.pending = None;
        }
        control(opcode, Cow::Owned(payload))
    }
}

/// What deflate cannot shorten it makes longer, by up to a bit in eight; inflation has the exact bound.
fn deflated_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_add(message_bytes_max / 8 + 64)
}

enum Step<'i> {
    /// Something is whole.
    Whole(Incoming<'i>),
    /// The frame ended, what it belongs to has not.
    Next,
    /// The input is used up.
    Starved,
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Step<'_>, Violation> {
    match opcode {
        Opcode::Close => Ok(Step::Whole(Incoming::Close(CloseReason::decode(&payload)?))),
        Opcode::Ping => Ok(Step::Whole(Incoming::Ping(payload))),
        Opcode::Pong => Ok(Step::Whole(Incoming::Pong(payload))),
        Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(Step::Next),
    }
}

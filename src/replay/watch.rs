//! What one peer sent and got, a line for each frame, or for each piece of HTTP.

use std::fmt::Write as _;

use crate::record::Shape;

/// Which way bytes go, as the peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Sent,
    Got,
}

/// Follows one connection.
pub(super) struct Watch {
    conn: u64,
    sent: Stream,
    got: Stream,
    pub(super) lines: Vec<String>,
}

/// One direction.
#[derive(Default)]
struct Stream {
    /// The beginning of what is not a whole head, or a whole frame header, yet.
    kept: Vec<u8>,
    has_frames: bool,
    /// The frame whose payload comes: how much of it is left, and its first bytes.
    frame: Option<(Shape, u64, Vec<u8>)>,
}

impl Watch {
    pub(super) fn new(conn: u64) -> Self {
        Self { conn, sent: Stream::default(), got: Stream::default(), lines: Vec::new() }
    }

    /// Takes note of bytes, if they are of the connection it follows.
    pub(super) fn see(&mut self, conn: u64, way: Way, bytes: &[u8], (turn, at_ns): (u64, u64)) {
        if conn != self.conn {
            return;
        }
        let (stream, mark) = match way {
            Way::Sent => (&mut self.sent, '>'),
            Way::Got => (&mut self.got, '<'),
        };
        let mut said = Vec::new();
        match bytes {
            [] => said.push("the end".to_owned()),
            bytes => stream.see(bytes, &mut said),
        }
        let at = at_ns as f64 / 1e9;
        self.lines.extend(said.iter().map(|what| format!("turn {turn}  {at:.6}s  {mark} {what}")));
    }
}

impl Stream {
    /// As much of a payload as is shown.
    const SHOWN: usize = 48;

    /// The longest head that is waited for.
    const HEAD_MAX: usize = 64 << 10;

    fn see(&mut self, bytes: &[u8], said: &mut Vec<String>) {
        if !self.has_frames {
            self.kept.extend_from_slice(bytes);
            let Some(end) = self.kept.windows(4).position(|end| end == b"\r\n\r\n") else {
                if self.kept.len() > Self::HEAD_MAX {
                    self.tell_http(said);
                }
                return;
            };
            let head = String::from_utf8_lossy(&self.kept[..end]).to_ascii_lowercase();
            // The answer agrees to what the request asks for.
            self.has_frames = head.contains("\r\nupgrade: websocket") && !head.starts_with("http/1.1 4");
            if !self.has_frames {
                return self.tell_http(said);
            }
            let rest = self.kept.split_off(end + 4);
            self.tell_http(said);
            return self.see_frames(&rest, said);
        }
        self.see_frames(bytes, said);
    }

    fn tell_http(&mut self, said: &mut Vec<String>) {
        let kept = std::mem::take(&mut self.kept);
        let line = kept.split(|byte| *byte == b'\r').next().unwrap_or_default();
        said.push(format!("HTTP {} bytes {}", kept.len(), preview(line)));
    }

    fn see_frames(&mut self, bytes: &[u8], said: &mut Vec<String>) {
        let mut bytes = bytes;
        while let Some((&byte, rest)) = bytes.split_first() {
            let (shape, left, shown) = match &mut self.frame {
                Some(frame) => frame,
                None => {
                    self.kept.push(byte);
                    bytes = rest;
                    let Some(shape) = Shape::read(&self.kept) else { continue };
                    self.kept.clear();
                    self.frame.insert((shape, shape.len, Vec::new()))
                }
            };
            let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            for (at, byte) in
                bytes[..take].iter().take(Self::SHOWN - shown.len().min(Self::SHOWN)).enumerate()
            {
                let place = (shape.len - *left) as usize + at;
                shown.push(byte ^ shape.mask[place % 4]);
            }
            *left -= take as u64;
            bytes = &bytes[take..];
            if *left == 0 {
                said.push(describe(*shape, shown));
                self.frame = None;
            }
        }
    }
}

fn describe(shape: Shape, shown: &[u8]) -> String {
    let name = match shape.opcode {
        0 => "continuation",
        1 => "text",
        2 => "binary",
        8 => "close",
        9 => "ping",
        10 => "pong",
        _ => "reserved",
    };
    let more = if shape.fin { "" } else { ", more to come" };
    let mut said = format!("{name} {} bytes{more}", shape.len);
    match (shape.opcode, shown) {
        (8, [high, low, reason @ ..]) => {
            write!(said, " {} {}", u16::from_be_bytes([*high, *low]), preview(reason)).unwrap_or_default();
        }
        (_, []) => {}
        (_, shown) => write!(said, " {}", preview(shown)).unwrap_or_default(),
    }
    if shape.len > shown.len() as u64 {
        said.push('…');
    }
    said
}

/// The first bytes in quotes, with whatever cannot be shown as an escape.
pub(super) fn preview(bytes: &[u8]) -> String {
    const SHOWN: usize = 512;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{text:?}{more}")
}

/// What a file says, so that it does nothing to a terminal: anybody may have written it.
pub(super) fn harmless(text: &str) -> String {
    let stays = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace());
    text.chars().map(|c| if stays(c) { c.to_string() } else { c.escape_unicode().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_one_by_one_however_they_come() {
        let request = b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n";
        let mut bytes = request.to_vec();
        bytes.extend([0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2, 0x89, 0x80, 0, 0, 0, 0]);
        bytes.extend([0x88, 0x86, 0, 0, 0, 0, 3, 0xe8, b'd', b'o', b'n', b'e']);
        for size in 1..bytes.len() {
            let mut watch = Watch::new(3);
            for piece in bytes.chunks(size) {
                watch.see(3, Way::Sent, piece, (7, 1_500_000_000));
                watch.see(4, Way::Sent, piece, (7, 1_500_000_000));
            }
            let at = "turn 7  1.500000s  > ";
            let want = [
                format!("{at}HTTP {} bytes \"GET /echo HTTP/1.1\"", request.len()),
                format!("{at}text 2 bytes \"hi\""),
                format!("{at}ping 0 bytes"),
                format!("{at}close 6 bytes 1000 \"done\""),
            ];
            assert_eq!(watch.lines, want, "in pieces of {size}");
        }
    }
}

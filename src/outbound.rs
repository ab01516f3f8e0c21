//! What is owed to one peer alone: responses, replies and control frames, in the order in which they leave.

use std::io::{self, ErrorKind, Write};

use bytes::Buf;

use crate::ledger::Begun;
use crate::planted::{Fault, is_planted};
use crate::room::encoding::Encoding;
use crate::room::long::Rest;
use crate::spare::Spares;
use crate::ws::close::CloseReason;
use crate::ws::frame::{Opcode, frame_boundary, header_len, write_frame};

/// The bytes that wait for one socket.
///
/// They leave in this order: the rest of a frame that has begun, control frames, then replies. A Close is the last
/// reply, and nothing follows it (RFC 6455 §5.5.1). While nothing waits, nothing is held.
#[derive(Debug, Default)]
pub struct Outbound {
    queue: Option<Box<Queue>>,
    sealed: bool,
}

/// The buffers of an [`Outbound`] that has something to send.
#[derive(Debug, Default)]
pub struct Queue {
    /// What is left of a room's frame whose beginning is on the wire: nothing may come between.
    rest: Rest,
    /// Whole control frames, none of them begun.
    control: Vec<u8>,
    /// Responses and then frames; of the first of them the beginning may be on the wire.
    replies: Vec<u8>,
    /// How much of `replies` is on the wire.
    sent: usize,
    /// Where in `replies` the frame ends that has begun, or the HTTP that comes before all frames: no control frame
    /// may come before that.
    whole: usize,
    /// Deliveries that end when what waits here has left, in the order in which they were handed over.
    begun: Vec<Begun>,
    /// Whether the first of those ends with `rest`, and whether that has gone.
    ends_with_rest: bool,
    has_rest_gone: bool,
}

impl Queue {
    fn len(&self) -> usize {
        self.rest.bytes.len() + self.control.len() + self.replies.len() - self.sent
    }

    fn held(&self) -> usize {
        let rest = if self.rest.shared == 0 { self.rest.bytes.len() } else { 0 };
        let begun = self.begun.capacity() * size_of::<Begun>();
        size_of::<Self>() + rest + self.control.capacity() + self.replies.capacity() + begun
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Outbound {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory taken up by what waits.
    #[inline]
    pub fn held(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.held())
    }

    /// Bytes of memory that no room's log holds any more, and what waits here still does: they count with the rooms.
    pub fn left_behind(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.rest.left_behind())
    }

    /// Whether a Close, or the last response, has been queued: nothing may follow.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Queues HTTP, written by `write`.
    pub fn push_http(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue.get_or_insert_default();
        debug_assert_eq!(queue.whole, queue.replies.len(), "HTTP comes before all frames");
        write(&mut queue.replies);
        queue.whole = queue.replies.len();
    }

    /// Makes room for a long reply in a buffer that served before.
    pub fn make_room(&mut self, payload_len: usize, spares: &mut Spares) {
        let queue = self.queue.get_or_insert_default();
        queue.compact();
        spares.reserve(&mut queue.replies, header_len(payload_len) + payload_len, 0);
    }

    /// Queues a text or binary frame behind the replies before it.
    #[inline]
    pub fn push_message(&mut self, opcode: Opcode, compressed: bool, payload: &[u8]) {
        debug_assert!(!self.sealed, "a message after the Close");
        let queue = self.queue.get_or_insert_default();
        if queue.sent > 0 {
            queue.compact();
        }
        queue.replies.reserve(header_len(payload.len()) + payload.len());
        write_frame(&mut queue.replies, opcode, compressed, payload);
    }

    /// Queues what the server itself has to say to one reader of a room, a JSON object, as it reads publications.
    pub fn push_notice(&mut self, encoding: Encoding, notice: &str) {
        let notice = encoding.encode_notice(notice);
        match encoding {
            Encoding::Raw | Encoding::Json => self.push_frames(&notice),
            // Events have no frames, so where one ends is not to be searched for.
            Encoding::Events => self.push_http(|out| out.extend_from_slice(&notice)),
        }
    }

    /// Queues a Ping or a Pong ahead of the replies.
    ///
    /// Above `bytes_max` waiting, earlier ones are dropped: only the latest Ping has to be answered (§5.5.3).
    pub fn push_control(&mut self, opcode: Opcode, payload: &[u8], bytes_max: usize) {
        if self.sealed {
            return;
        }
        let control = &mut self.queue.get_or_insert_default().control;
        if control.len() + header_len(payload.len()) + payload.len() > bytes_max {
            control.clear();
        }
        write_frame(control, opcode, false, payload);
    }

    /// Queues a Close behind everything; whatever comes later is not sent.
    pub fn push_close(&mut self, reason: Option<&CloseReason>) {
        if !self.sealed {
            let payload = reason.map(CloseReason::encode).unwrap_or_default();
            match &mut self.queue {
                Some(queue) if is_planted(Fault::CloseOvertakesReplies) => {
                    write_frame(&mut queue.control, Opcode::Close, false, &payload);
                }
                _ => self.push_message(Opcode::Close, false, &payload),
            }
            self.sealed = true;
        }
    }

    /// Ends the outgoing side after what is queued, as the last HTTP response does.
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// Takes over the rest of a frame that the socket took only in part. Everything else has to have left before.
    pub fn hold(&mut self, rest: Rest, begun: Begun) {
        debug_assert!(self.is_empty(), "a frame begun behind others that wait");
        let queue = self.queue.get_or_insert_default();
        queue.begun.push(begun);
        queue.ends_with_rest = true;
        queue.rest = rest;
    }

    /// Notes deliveries whose frames have been queued here: they end when everything has left.
    pub fn note_begun(&mut self, begun: Begun) {
        self.queue.get_or_insert_default().begun.push(begun);
    }

    /// Publications of which the last byte waits here.
    #[inline]
    pub fn owed(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.begun.iter().map(|begun| u64::from(begun.count)).sum())
    }

    /// The first of those deliveries.
    pub fn first_begun(&self) -> Option<&Begun> {
        self.queue.as_ref()?.begun.first()
    }

    /// A delivery whose last byte has left, until there are no more.
    #[inline]
    pub fn pop_completed(&mut self) -> Option<Begun> {
        let queue = self.queue.as_mut().filter(|queue| !queue.begun.is_empty())?;
        let has_rest_gone = queue.has_rest_gone || queue.rest.bytes.is_empty();
        if (queue.ends_with_rest && has_rest_gone) || queue.is_empty() {
            (queue.ends_with_rest, queue.has_rest_gone) = (false, false);
            return Some(queue.begun.remove(0));
        }
        None
    }

    /// Appends frames, as they are, behind the replies: for what a room still owes to a peer that is about to be closed.
    pub fn push_frames(&mut self, frames: &[u8]) {
        debug_assert!(!self.sealed, "frames after the Close");
        let queue = self.queue.get_or_insert_default();
        queue.compact();
        queue.replies.extend_from_slice(frames);
    }

    /// Appends what `other` holds; `other` never was on the wire.
    pub fn append(&mut self, other: Outbound) {
        let Some(theirs) = other.queue else { return };
        debug_assert_eq!(theirs.sent, 0, "what was on the wire cannot be moved");
        let ours = self.queue.get_or_insert_default();
        ours.control.extend_from_slice(&theirs.control);
        ours.replies.extend_from_slice(&theirs.replies);
        self.sealed |= other.sealed;
    }

    /// Writes until everything has left (`true`) or the socket takes no more (`false`).
    ///
    /// In the common case, replies only, it is one write.
    ///
    /// # Errors
    /// What the socket says, other than that it would block.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        let Some(queue) = &mut self.queue else { return Ok(true) };
        queue.flush(socket)
    }

    /// Gives back the buffers, if nothing waits in them.
    pub fn take_spare(&mut self) -> Option<Box<Queue>> {
        self.queue.take_if(|queue| queue.is_empty())
    }

    /// Lends buffers given back by another, so that none have to be made.
    pub fn lend(&mut self, spare: &mut Vec<Box<Queue>>) {
        if self.queue.is_none() {
            self.queue = spare.pop();
        }
    }
}

impl Queue {
    /// The largest buffer worth keeping for the next peer.
    const KEEP_MAX: usize = 16 << 10;

    /// Gives a long buffer back to where it came from, and says whether the others are small enough to be kept.
    pub fn strip(&mut self, spares: &mut Spares) -> bool {
        if self.replies.capacity() >= Spares::LONG {
            spares.give(std::mem::take(&mut self.replies));
        }
        self.control.capacity() <= Self::KEEP_MAX
    }

    /// Takes what was sent out of the way, once it is more than what waits: each byte is moved at most once on average.
    fn compact(&mut self) {
        if self.sent > Self::KEEP_MAX && self.sent * 2 > self.replies.len() {
            self.replies.drain(..self.sent);
            self.whole -= self.sent.min(self.whole);
            self.sent = 0;
        }
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        if !self.rest.bytes.is_empty() {
            let sent = write_some(socket, &self.rest.bytes)?;
            self.rest.bytes.advance(sent);
            if !self.rest.bytes.is_empty() {
                return Ok(false);
            }
            self.rest = Rest::default();
            self.has_rest_gone = self.ends_with_rest;
        }
        if !self.control.is_empty() {
            // A response comes before the first frame, so also before a Pong to a Ping that came with the request.
            let whole = if is_planted(Fault::ControlInsideFrame) { 0 } else { self.whole };
            if !self.flush_replies(socket, whole)? || !self.flush_control(socket)? {
                return Ok(false);
            }
        }
        let all = self.replies.len();
        self.flush_replies(socket, all)
    }

    fn flush_control(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        let sent = write_some(socket, &self.control)?;
        if sent < self.control.len() {
            let begun = frame_boundary(&self.control, sent);
            self.rest = Rest::copy(&self.control[sent..begun]);
            self.control.drain(..begun);
            return Ok(false);
        }
        self.control.clear();
        Ok(true)
    }

    /// Sends the replies up to `end`, and finds out which frame the socket has stopped in.
    fn flush_replies(&mut self, socket: &mut impl Write, end: usize) -> io::Result<bool> {
        if end <= self.sent {
            return Ok(true);
        }
        let sent = write_some(socket, &self.replies[self.sent..end])?;
        let is_lost = is_planted(Fault::ShortWriteCountsAsWhole) && sent > 0;
        self.sent = if is_lost { end } else { self.sent + sent };
        let all = self.sent == end;
        if self.sent == self.replies.len() {
            self.replies.clear();
            self.sent = 0;
            self.whole = 0;
        } else if self.sent > self.whole {
            self.whole += frame_boundary(&self.replies[self.whole..], self.sent - self.whole);
        }
        Ok(all)
    }
}

/// Writes once; no bytes where the socket would block.
///
/// # Errors
/// What the socket says, other than that it would block.
pub fn write_some(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Ok(0) if !bytes.is_empty() => return Err(ErrorKind::WriteZero.into()),
            Ok(sent) => return Ok(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes `room` bytes more.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..taken]);
            self.room -= taken;
            if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, opcode, false, payload);
        out
    }

    #[test]
    fn s5_4_control_frames_pass_replies_only_at_a_frames_end() {
        let (a, b) = (frame(Opcode::Text, b"first reply"), frame(Opcode::Text, &[b'x'; 300]));
        let pong = frame(Opcode::Pong, b"!");
        let len = a.len() + b.len();
        for room in 0..=len {
            let mut outbound = Outbound::default();
            outbound.push_message(Opcode::Text, false, b"first reply");
            outbound.push_message(Opcode::Text, false, &[b'x'; 300]);
            let mut socket = Narrow { room, taken: Vec::new() };
            assert_eq!(outbound.flush(&mut socket).unwrap(), room == len);
            outbound.push_control(Opcode::Pong, b"!", 4096);
            outbound.push_close(None);
            socket.room = 1000;
            assert!(outbound.flush(&mut socket).unwrap());
            let begun = if room == 0 {
                0
            } else if room <= a.len() {
                a.len()
            } else {
                len
            };
            let mut want = [a.as_slice(), &b].concat();
            want.splice(begun..begun, pong.iter().copied());
            want.extend(frame(Opcode::Close, b""));
            assert_eq!(socket.taken, want, "after {room} bytes");
        }
    }

    #[test]
    fn s4_2_2_a_response_comes_before_every_frame_wherever_the_socket_stops() {
        let want =
            [b"HTTP/1.1 101\r\n\r\n".to_vec(), frame(Opcode::Pong, b"p"), frame(Opcode::Text, b"t")].concat();
        for room in 0..=want.len() {
            let mut outbound = Outbound::default();
            outbound.push_http(|out| out.extend_from_slice(b"HTTP/1.1 101\r\n\r\n"));
            outbound.push_message(Opcode::Text, false, b"t");
            outbound.push_control(Opcode::Pong, b"p", 4096);
            let mut socket = Narrow { room, taken: Vec::new() };
            assert_eq!(outbound.flush(&mut socket).unwrap(), room == want.len());
            socket.room = 1000;
            assert!(outbound.flush(&mut socket).unwrap());
            assert_eq!(socket.taken, want, "after {room} bytes");
            assert!(outbound.take_spare().is_some());
        }
    }

    #[test]
    fn s5_5_3_past_the_bound_only_the_latest_ping_is_answered() {
        let mut outbound = Outbound::default();
        for i in 0..100u8 {
            outbound.push_control(Opcode::Pong, &[i; 125], 254);
            assert!(outbound.len() <= 254);
        }
        let mut socket = Narrow { room: 1000, taken: Vec::new() };
        outbound.flush(&mut socket).unwrap();
        assert!(socket.taken.ends_with(&frame(Opcode::Pong, &[99; 125])));
    }
}

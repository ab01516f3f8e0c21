//! The body of a request, by length or in chunks, RFC 9112 §6 and §7.1.

use super::head::Request;
use super::response::Refusal;
use crate::input::Input;

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// What the chunks say.
    Chunked,
}

impl Framing {
    /// What the head says about the body.
    ///
    /// # Errors
    /// [`Refusal::CodingNotImplemented`] for a transfer coding other than chunked alone, [`Refusal::BodyTooLarge`]
    /// past `bytes_max`.
    pub fn of(request: &Request<'_>, bytes_max: usize) -> Result<Self, Refusal> {
        let mut codings = request.header_list("transfer-encoding");
        match (codings.next(), codings.next()) {
            (None, _) if request.header_values("transfer-encoding").next().is_some() => {
                Err(Refusal::CodingNotImplemented)
            }
            (None, _) => Self::by_length(request, bytes_max),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => match request.is_http_1_1() {
                true => Ok(Framing::Chunked),
                // RFC 9112 §6.1: in HTTP/1.0 this is a fault in the framing.
                false => Err(Refusal::Malformed("chunks in HTTP/1.0")),
            },
            (Some(_), _) => Err(Refusal::CodingNotImplemented),
        }
    }

    fn by_length(request: &Request<'_>, bytes_max: usize) -> Result<Self, Refusal> {
        let Some(length) = request.header("content-length") else { return Ok(Framing::None) };
        // The head has been checked: it is digits. What does not fit 64 bits is too large all the same.
        match length.parse::<u64>() {
            Ok(0) => Ok(Framing::None),
            Ok(length) if length <= bytes_max as u64 => Ok(Framing::Length(length)),
            Ok(_) | Err(_) => Err(Refusal::BodyTooLarge),
        }
    }
}

/// Collects a body.
#[derive(Debug)]
pub struct BodyReader {
    body: Vec<u8>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// So many bytes are to come, and then the body is whole.
    Length(u64),
    /// In the line that says how long the next chunk is.
    Size(Vec<u8>),
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    /// After a chunk: CR and LF, so many of the two have come.
    ChunkEnd(u8),
    /// In a line of the trailer section; so many bytes came in lines before it.
    Trailer(Vec<u8>, usize),
    Whole,
}

impl BodyReader {
    /// The longest line that says how long a chunk is, its extensions included.
    const SIZE_LINE_MAX: usize = 256;

    /// The longest trailer section; nobody looks at it.
    const TRAILERS_MAX: usize = 4096;

    /// Begins a body, unless there is none.
    pub fn new(framing: Framing) -> Option<Self> {
        let place = match framing {
            Framing::None => return None,
            Framing::Length(length) => Place::Length(length),
            Framing::Chunked => Place::Size(Vec::new()),
        };
        Some(Self { body: Vec::new(), place })
    }

    /// Bytes of memory taken up by what has come.
    pub fn held(&self) -> usize {
        self.body.capacity()
    }

    /// Bytes kept.
    pub fn buffered(&self) -> usize {
        self.body.len()
    }

    /// Takes from `input` what belongs to the body; says whether it is whole.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] past `bytes_max`, [`Refusal::Malformed`] for chunks that are none.
    pub fn read(&mut self, input: &mut Input<'_>, bytes_max: usize) -> Result<bool, Refusal> {
        loop {
            if matches!(self.place, Place::Whole) {
                return Ok(true);
            }
            if input.is_empty() {
                return Ok(false);
            }
            self.place = match std::mem::replace(&mut self.place, Place::Whole) {
                Place::Length(left) => match self.take(left, input) {
                    0 => Place::Whole,
                    left => Place::Length(left),
                },
                Place::Size(line) => self.read_size(line, input, bytes_max)?,
                Place::Chunk(left) => match self.take(left, input) {
                    0 => Place::ChunkEnd(0),
                    left => Place::Chunk(left),
                },
                Place::ChunkEnd(at) => match (at, input.take(1)) {
                    (0, [b'\r']) => Place::ChunkEnd(1),
                    (1, [b'\n']) => Place::Size(Vec::new()),
                    _ => return Err(Refusal::Malformed("a chunk is longer than it says")),
                },
                Place::Trailer(line, before) => Self::read_trailer(line, before, input)?,
                Place::Whole => Place::Whole,
            };
        }
    }

    /// The body, once it is whole.
    pub fn finish(self) -> Vec<u8> {
        self.body
    }

    /// Takes up to `left` bytes of the body; how many are left then.
    fn take(&mut self, left: u64, input: &mut Input<'_>) -> u64 {
        let piece = input.take(usize::try_from(left).unwrap_or(usize::MAX));
        self.body.extend_from_slice(piece);
        left - piece.len() as u64
    }

    fn read_size(
        &self,
        mut line: Vec<u8>,
        input: &mut Input<'_>,
        bytes_max: usize,
    ) -> Result<Place, Refusal> {
        if !take_line(&mut line, input, Self::SIZE_LINE_MAX)? {
            return Ok(Place::Size(line));
        }
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        let is_hex = !digits.is_empty() && digits.len() <= 16 && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| is_hex);
        let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        match size.ok_or(Refusal::Malformed("a chunk does not say how long it is"))? {
            0 => Ok(Place::Trailer(Vec::new(), 0)),
            size if size > (bytes_max - self.body.len().min(bytes_max)) as u64 => Err(Refusal::BodyTooLarge),
            size => Ok(Place::Chunk(size)),
        }
    }

    fn read_trailer(mut line: Vec<u8>, before: usize, input: &mut Input<'_>) -> Result<Place, Refusal> {
        if !take_line(&mut line, input, Self::TRAILERS_MAX - before.min(Self::TRAILERS_MAX))? {
            return Ok(Place::Trailer(line, before));
        }
        Ok(match line.is_empty() {
            true => Place::Whole,
            false => Place::Trailer(Vec::new(), before + line.len() + 2),
        })
    }
}

/// Collects a line up to its CR LF, which are taken off; says whether it is whole.
fn take_line(line: &mut Vec<u8>, input: &mut Input<'_>, bytes_max: usize) -> Result<bool, Refusal> {
    let newline = memchr::memchr(b'\n', input.peek());
    let piece = input.take(newline.map_or(usize::MAX, |at| at + 1));
    line.extend_from_slice(piece);
    if line.len() > bytes_max + 2 {
        return Err(Refusal::Malformed("a line between chunks is too long"));
    }
    if newline.is_none() {
        return Ok(false);
    }
    match line.strip_suffix(b"\r\n").map(<[u8]>::len) {
        Some(len) => line.truncate(len),
        None => return Err(Refusal::Malformed("a line ends without CR")),
    }
    Ok(true)
}

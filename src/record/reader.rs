//! A recording, read entry by entry; whatever the file holds, only so much of it is in memory.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::entry::Entry;
use super::header::Header;

/// Why a recording cannot be read, or not further.
#[derive(Debug)]
pub enum RecordingError {
    /// The file cannot be read.
    Io(io::Error),
    /// It does not begin as a recording does.
    NotOne,
    /// It was made by another version of the format.
    OtherFormat,
    /// What stands there, at so many bytes, is no entry.
    Damaged(u64),
    /// It ends there, at so many bytes, in the middle of something.
    Cut(u64),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingError::Io(error) => error.fmt(f),
            RecordingError::NotOne => f.write_str("this is no recording"),
            RecordingError::OtherFormat => {
                f.write_str("this recording has another format than this version reads")
            }
            RecordingError::Damaged(at) => write!(f, "the recording is damaged at byte {at}"),
            RecordingError::Cut(at) => write!(f, "the recording is cut off at byte {at}"),
        }
    }
}

impl std::error::Error for RecordingError {}

impl From<io::Error> for RecordingError {
    fn from(error: io::Error) -> Self {
        RecordingError::Io(error)
    }
}

/// Reads a recording.
pub struct Reader<R> {
    source: R,
    at: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// The longest entry there can be: what one read gave, at most, or a configuration.
    const ENTRY_MAX: u64 = 64 << 20;

    /// Reads the header.
    ///
    /// # Errors
    /// [`RecordingError`] where there is none.
    pub fn open(mut source: R) -> Result<(Header, Self), RecordingError> {
        let mut magic = Vec::new();
        let len = Header::MAGIC.len();
        source.by_ref().take(len as u64).read_to_end(&mut magic)?;
        if magic != Header::MAGIC {
            let is_other = len > 2 && magic.get(..len - 2) == Some(&Header::MAGIC[..len - 2]);
            return Err(if is_other { RecordingError::OtherFormat } else { RecordingError::NotOne });
        }
        let mut reader = Self { source, at: len as u64, bytes: Vec::new() };
        let at = reader.at;
        if !reader.fill()? {
            return Err(RecordingError::Cut(at));
        }
        let header = serde_json::from_slice(&reader.bytes).map_err(|_| RecordingError::Damaged(at))?;
        Ok((header, reader))
    }

    /// The next entry; `None` at the end of the file.
    ///
    /// # Errors
    /// [`RecordingError`] where there is something else.
    pub fn read_entry(&mut self) -> Result<Option<Entry<'static>>, RecordingError> {
        let at = self.at;
        if !self.fill()? {
            return Ok(None);
        }
        Entry::read(&self.bytes).map(Some).ok_or(RecordingError::Damaged(at))
    }

    /// How many bytes have been read.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads what comes next into the buffer; says whether there is anything.
    fn fill(&mut self) -> Result<bool, RecordingError> {
        let at = self.at;
        let mut len = 0u64;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            match self.source.read(&mut byte)? {
                0 if shift == 0 => return Ok(false),
                0 => return Err(RecordingError::Cut(at)),
                _ => self.at += 1,
            }
            len |= u64::from(byte[0] & 0x7f) << shift;
            if len > Self::ENTRY_MAX || shift > 28 {
                return Err(RecordingError::Damaged(at));
            }
            if byte[0] < 0x80 {
                break;
            }
        }
        self.bytes.clear();
        // Memory grows with what is there, whatever the length says.
        let read = self.source.by_ref().take(len).read_to_end(&mut self.bytes)? as u64;
        self.at += read;
        if read < len { Err(RecordingError::Cut(at)) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::{Call, Input, Other};
    use super::*;

    fn recording() -> Vec<u8> {
        let header = Header {
            version: "1".into(),
            start_ns: 7,
            memory: None,
            has_bodies: true,
            has_gate: false,
            settings: "deflate = false".into(),
        };
        let mut file = Header::MAGIC.to_vec();
        super::super::bytes::put_bytes(&mut file, &serde_json::to_vec(&header).unwrap());
        let entries = [
            Entry::Input(Input::Wake(5)),
            Entry::Call(1, Call::Read(vec![b'x'; 300].into())),
            Entry::Call(1, Call::Write(300, 300, 1)),
            Entry::Input(Input::Turn),
            Entry::Other(Other::End("the end".into())),
        ];
        for entry in entries {
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            super::super::bytes::put_bytes(&mut file, &bytes);
        }
        file
    }

    /// How many entries there are, or why there are no more.
    fn read(file: &[u8]) -> Result<usize, RecordingError> {
        let (_, mut reader) = Reader::open(file)?;
        let mut count = 0;
        while reader.read_entry()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_recording_that_was_cut_says_so_unless_it_was_between_two_entries() {
        let file = recording();
        assert_eq!(read(&file).unwrap(), 5);
        let mut whole = 0;
        for len in 0..file.len() {
            match read(&file[..len]) {
                Ok(count) => {
                    assert_eq!(count, whole, "at {len}");
                    whole += 1;
                }
                Err(RecordingError::Cut(at)) => assert!(at <= len as u64),
                Err(RecordingError::NotOne) => assert!(len < Header::MAGIC.len()),
                Err(RecordingError::OtherFormat) => assert!(len >= Header::MAGIC.len() - 2),
                Err(error) => panic!("{error} at {len}"),
            }
        }
        assert_eq!(whole, 5);
        let mut newer = file;
        newer[Header::MAGIC.len() - 2] = b'2';
        assert!(matches!(read(&newer), Err(RecordingError::OtherFormat)));
    }

    proptest! {
        #[test]
        fn a_damaged_recording_is_an_error_or_another_recording(at in 20usize..400, byte: u8) {
            let mut file = recording();
            let at = at.min(file.len() - 1);
            file[at] = byte;
            // Whatever it is, it is said in a line.
            if let Err(error) = read(&file) {
                prop_assert_eq!(error.to_string().lines().count(), 1);
            }
        }

        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let file = [Header::MAGIC, &bytes].concat();
            prop_assert!(read(&file).is_err());
            prop_assert!(read(&bytes).is_err());
        }
    }
}

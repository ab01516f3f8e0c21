//! The frames that a client sends, with what it says replaced by fillers, RFC 6455 §5.

use super::filler::{Chain, Filler};
use super::json::Json;
use super::shape::Shape;

/// Frames: their headers stay, their payloads are unmasked, replaced and masked again.
pub(super) struct Frames {
    header: Vec<u8>,
    mask: [u8; 4],
    left: u64,
    /// How much of this frame's payload has come.
    at: u64,
    opcode: u8,
    /// What the message consists of that is being sent in fragments.
    is_text: bool,
    is_json: bool,
    message: Chain,
    json: Json,
    control: Chain,
}

impl Frames {
    pub(super) fn new(filler: &Filler, is_json: bool) -> Self {
        Self {
            header: Vec::new(),
            mask: [0; 4],
            left: 0,
            at: 0,
            opcode: 0,
            is_text: false,
            is_json,
            message: filler.begin(),
            json: Json::new(filler),
            control: filler.begin(),
        }
    }

    /// Whether nothing has come yet.
    pub(super) fn is_new(&self) -> bool {
        self.header.is_empty() && self.at == 0 && self.left == 0
    }

    pub(super) fn replace(&mut self, byte: u8, next: Option<u8>, filler: &Filler) -> u8 {
        if self.left == 0 {
            self.header.push(byte);
            self.begin_payload(filler);
            return byte;
        }
        let mask = self.mask[(self.at % 4) as usize];
        let next = next.filter(|_| self.left > 1).map(|next| next ^ self.mask[((self.at + 1) % 4) as usize]);
        let plain = byte ^ mask;
        let filled = match self.opcode {
            // §5.5.1: the code comes before the reason.
            8 if self.at < 2 => plain,
            8 => self.control.text(plain),
            9.. => self.control.binary(plain),
            _ if !self.is_text => self.message.binary(plain),
            _ if self.is_json => self.json.replace(plain, next, filler),
            _ => self.message.text(plain),
        };
        self.at += 1;
        self.left -= 1;
        filled ^ mask
    }

    /// Once the header is whole, its payload begins.
    fn begin_payload(&mut self, filler: &Filler) {
        let Some(shape) = Shape::read(&self.header) else { return };
        (self.left, self.mask, self.at, self.opcode) = (shape.len, shape.mask, 0, shape.opcode);
        match self.opcode {
            0 => {}
            1 | 2 => {
                self.is_text = self.opcode == 1;
                self.message = filler.begin();
                self.json = Json::new(filler);
            }
            _ => self.control = filler.begin(),
        }
        self.header.clear();
    }
}

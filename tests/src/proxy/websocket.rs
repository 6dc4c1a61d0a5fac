//! The text frames of a server on a connection that became a WebSocket.

use rand::rngs::StdRng;

use super::Frames;
use super::frames::Shuffle;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101";
/// A text that is one frame.
const WHOLE_TEXT: u8 = 0x81;

#[derive(Default)]
pub struct TextFrames {
    state: State,
    /// Less than a head or a frame.
    buffer: Vec<u8>,
    pub(super) shuffle: Shuffle<Vec<u8>>,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    /// Nothing was answered yet.
    #[default]
    Head,
    Frames,
    /// Plain HTTP.
    Other,
}

impl TextFrames {
    pub fn take(&mut self, bytes: &[u8], frames: Frames, rng: &mut StdRng) -> Vec<u8> {
        if self.state == State::Other {
            return bytes.to_vec();
        }
        self.buffer.extend_from_slice(bytes);
        let mut out = Vec::new();
        if self.state == State::Head {
            let known = self.buffer.len().min(SWITCHING.len());
            if self.buffer[..known] != SWITCHING[..known] {
                self.state = State::Other;
                return std::mem::take(&mut self.buffer);
            }
            let end = self
                .buffer
                .windows(END_OF_HEAD.len())
                .position(|window| window == END_OF_HEAD);
            let Some(end) = end else { return out };
            out.extend(self.buffer.drain(..end + END_OF_HEAD.len()));
            self.state = State::Frames;
        }
        while let Some(length) = frame_length(&self.buffer) {
            let frame: Vec<u8> = self.buffer.drain(..length).collect();
            if frame[0] == WHOLE_TEXT {
                out.extend(self.shuffle.take(frame, frames, rng).concat());
            } else {
                out.extend(self.shuffle.release(rng).concat());
                out.extend(frame);
            }
        }
        out
    }
}

/// How long the first frame is, once all of it is there. Servers do not mask.
fn frame_length(buffer: &[u8]) -> Option<usize> {
    let length = match buffer.get(1)? & 0x7f {
        126 => 4 + usize::from(u16::from_be_bytes(bytes(buffer, 2)?)),
        127 => 10 + usize::try_from(u64::from_be_bytes(bytes(buffer, 2)?)).ok()?,
        short => 2 + usize::from(short),
    };
    (buffer.len() >= length).then_some(length)
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..at + N)?.try_into().ok()
}

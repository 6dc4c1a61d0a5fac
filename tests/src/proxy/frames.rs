//! What the proxy does to whole frames; bytes of an unknown protocol have none.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::amqp::{Acknowledgements, Deliveries};
use super::websocket::TextFrames;
use super::{Frames, Protocol};

/// So many frames are mixed up with each other.
const SHUFFLED: usize = 8;

/// One direction of one connection.
pub enum Codec {
    Plain,
    Deliveries(Deliveries),
    Acknowledgements(Acknowledgements),
    TextFrames(TextFrames),
}

impl Codec {
    /// To the server, and to the client.
    pub fn pair(protocol: Protocol) -> [Self; 2] {
        match protocol {
            Protocol::Unknown => [Self::Plain, Self::Plain],
            Protocol::Amqp => {
                let deliveries = Deliveries::default();
                let acknowledgements = Acknowledgements::of(&deliveries);
                [
                    Self::Acknowledgements(acknowledgements),
                    Self::Deliveries(deliveries),
                ]
            }
            Protocol::WebSocket => [Self::Plain, Self::TextFrames(TextFrames::default())],
        }
    }

    /// What leaves now that these bytes came.
    pub fn take(&mut self, bytes: &[u8], frames: Frames, rng: &mut StdRng) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Deliveries(deliveries) => deliveries.take(bytes, frames, rng),
            Self::Acknowledgements(acknowledgements) => acknowledgements.take(bytes),
            Self::TextFrames(texts) => texts.take(bytes, frames, rng),
        }
    }

    /// Whether frames wait for others to be mixed up with.
    pub fn holds(&self) -> bool {
        match self {
            Self::Plain | Self::Acknowledgements(_) => false,
            Self::Deliveries(deliveries) => deliveries.shuffle.holds(),
            Self::TextFrames(texts) => texts.shuffle.holds(),
        }
    }

    /// Lets go of what is held.
    pub fn release(&mut self, rng: &mut StdRng) -> Vec<u8> {
        match self {
            Self::Plain | Self::Acknowledgements(_) => Vec::new(),
            Self::Deliveries(deliveries) => deliveries.release(rng),
            Self::TextFrames(texts) => texts.shuffle.release(rng).concat(),
        }
    }

    /// Frames that were doubled or moved since the last look.
    pub fn disturbed(&mut self) -> u64 {
        match self {
            Self::Plain | Self::Acknowledgements(_) => 0,
            Self::Deliveries(deliveries) => std::mem::take(&mut deliveries.shuffle.disturbed),
            Self::TextFrames(texts) => std::mem::take(&mut texts.shuffle.disturbed),
        }
    }
}

/// Doubles frames, or holds them for a moment and gives them back in another order.
pub struct Shuffle<T> {
    held: Vec<T>,
    disturbed: u64,
}

impl<T> Default for Shuffle<T> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            disturbed: 0,
        }
    }
}

impl<T: Clone> Shuffle<T> {
    /// The frames that leave now that this one came.
    pub fn take(&mut self, frame: T, frames: Frames, rng: &mut StdRng) -> Vec<T> {
        match frames {
            Frames::Shuffled => {
                self.held.push(frame);
                if self.held.len() < SHUFFLED {
                    return Vec::new();
                }
                self.release(rng)
            }
            Frames::Doubled => {
                self.disturbed += 1;
                let mut out = self.release(rng);
                out.extend([frame.clone(), frame]);
                out
            }
            Frames::Untouched => {
                let mut out = self.release(rng);
                out.push(frame);
                out
            }
        }
    }

    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub fn release(&mut self, rng: &mut StdRng) -> Vec<T> {
        let held = std::mem::take(&mut self.held);
        let mut order: Vec<usize> = (0..held.len()).collect();
        order.shuffle(rng);
        let moved = order.iter().enumerate().filter(|(to, from)| to != *from);
        self.disturbed += moved.count() as u64;
        order.into_iter().map(|from| held[from].clone()).collect()
    }
}

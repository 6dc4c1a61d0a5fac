//! Deliveries of AMQP 0-9-1. A client that gets one twice acknowledges it twice, and
//! with others mixed up it acknowledges in another order: so each copy gets a tag
//! of its own, and the broker hears of a delivery when every copy is settled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;

use super::Frames;
use super::frames::Shuffle;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;
/// Type, channel and length before the payload, and the end mark after it.
const AROUND: usize = 8;
/// What a client says first, which is no frame.
const GREETING: usize = 8;

/// Class and method.
const CHANNEL_OPEN: [u8; 4] = [0, 20, 0, 10];
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const GET_OK: [u8; 4] = [0, 60, 0, 71];
const ACK: [u8; 4] = [0, 60, 0, 80];
const REJECT: [u8; 4] = [0, 60, 0, 90];
const NACK: [u8; 4] = [0, 60, 0, 120];

#[derive(Clone)]
struct Frame {
    kind: u8,
    channel: u16,
    payload: Vec<u8>,
}

impl Frame {
    /// The first of the buffer, once all of it is there.
    fn first_of(buffer: &mut Vec<u8>) -> Option<Self> {
        let length = u32::from_be_bytes(buffer.get(3..7)?.try_into().ok()?) as usize;
        if buffer.len() < length + AROUND {
            return None;
        }
        let rest = buffer.split_off(length + AROUND);
        let frame = std::mem::replace(buffer, rest);
        Some(Self {
            kind: frame[0],
            channel: u16::from_be_bytes([frame[1], frame[2]]),
            payload: frame[7..7 + length].to_vec(),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend(self.channel.to_be_bytes());
        out.extend((self.payload.len() as u32).to_be_bytes());
        out.extend(&self.payload);
        out.push(END);
    }

    fn is_method(&self, method: [u8; 4]) -> bool {
        self.kind == METHOD && self.payload.starts_with(&method)
    }

    fn number(&self, at: usize) -> u64 {
        let bytes = self
            .payload
            .get(at..at + 8)
            .and_then(|it| it.try_into().ok());
        u64::from_be_bytes(bytes.unwrap_or_default())
    }

    fn set_number(&mut self, at: usize, number: u64) {
        self.payload[at..at + 8].copy_from_slice(&number.to_be_bytes());
    }
}

type Channels = Arc<Mutex<HashMap<u16, Tags>>>;

fn lock(channels: &Channels) -> MutexGuard<'_, HashMap<u16, Tags>> {
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tags of one channel.
#[derive(Default)]
struct Tags {
    last: u64,
    unsettled: Vec<Copied>,
}

struct Copied {
    /// The tag that the client knows …
    shown: u64,
    /// … and the broker's.
    real: u64,
    /// How the client settled it, as the broker is to be told: method and flags.
    settled: Option<([u8; 4], u8)>,
}

impl Tags {
    /// A tag for the client.
    fn show(&mut self, real: u64) -> u64 {
        self.last += 1;
        self.unsettled.push(Copied {
            shown: self.last,
            real,
            settled: None,
        });
        self.last
    }

    /// What the broker is to be told now that the client has settled a tag, or all
    /// up to it: the tags of which no copy is open.
    fn settle(
        &mut self,
        shown: u64,
        multiple: bool,
        how: ([u8; 4], u8),
    ) -> Vec<(u64, [u8; 4], u8)> {
        for copy in &mut self.unsettled {
            // 0 with the flag is "all there are".
            let is_meant = copy.shown == shown || (multiple && (shown == 0 || copy.shown < shown));
            if is_meant && copy.settled.is_none() {
                copy.settled = Some(how);
            }
        }
        let open: Vec<u64> = self
            .unsettled
            .iter()
            .filter(|copy| copy.settled.is_none())
            .map(|copy| copy.real)
            .collect();
        let mut told: Vec<(u64, [u8; 4], u8)> = Vec::new();
        self.unsettled.retain(|copy| {
            let Some((method, flags)) = copy.settled.filter(|_| !open.contains(&copy.real)) else {
                return true;
            };
            match told.iter_mut().find(|(real, ..)| *real == copy.real) {
                // One copy given back is all given back.
                Some(known) if method != ACK => (known.1, known.2) = (method, flags),
                Some(_) => {}
                None => told.push((copy.real, method, flags)),
            }
            false
        });
        told
    }
}

/// A method that brings a message, with the message.
#[derive(Clone)]
pub struct Delivery {
    frames: Vec<Frame>,
    /// Where the tag is in the first frame.
    tag_at: usize,
    /// Bytes of the body to come, once the header is there.
    missing: Option<u64>,
}

/// From the broker.
#[derive(Default)]
pub struct Deliveries {
    channels: Channels,
    buffer: Vec<u8>,
    /// By channel, what is not complete yet.
    coming: HashMap<u16, Delivery>,
    pub(super) shuffle: Shuffle<Delivery>,
}

impl Deliveries {
    pub fn take(&mut self, bytes: &[u8], frames: Frames, rng: &mut StdRng) -> Vec<u8> {
        self.buffer.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(frame) = Frame::first_of(&mut self.buffer) {
            let channel = frame.channel;
            if frame.is_method(DELIVER) {
                // After the consumer's tag, a short text.
                let tag_at = 5 + usize::from(frame.payload[4]);
                self.coming.insert(channel, Delivery::new(frame, tag_at));
            } else if frame.is_method(GET_OK) {
                self.coming.insert(channel, Delivery::new(frame, 4));
            } else if let Some(mut delivery) = self.coming.remove(&channel) {
                delivery.add(frame);
                if delivery.missing != Some(0) {
                    self.coming.insert(channel, delivery);
                } else if delivery.is_asked_for() {
                    self.show(delivery, &mut out);
                } else {
                    for delivery in self.shuffle.take(delivery, frames, rng) {
                        self.show(delivery, &mut out);
                    }
                }
            } else {
                // What the broker says afterwards does not come before.
                out.extend(self.release(rng));
                frame.write(&mut out);
            }
        }
        out
    }

    pub fn release(&mut self, rng: &mut StdRng) -> Vec<u8> {
        let mut out = Vec::new();
        for delivery in self.shuffle.release(rng) {
            self.show(delivery, &mut out);
        }
        out
    }

    fn show(&self, mut delivery: Delivery, out: &mut Vec<u8>) {
        let method = &mut delivery.frames[0];
        let real = method.number(delivery.tag_at);
        let shown = lock(&self.channels)
            .entry(method.channel)
            .or_default()
            .show(real);
        method.set_number(delivery.tag_at, shown);
        for frame in &delivery.frames {
            frame.write(out);
        }
    }
}

impl Delivery {
    fn new(method: Frame, tag_at: usize) -> Self {
        Self {
            frames: vec![method],
            tag_at,
            missing: None,
        }
    }

    fn add(&mut self, frame: Frame) {
        self.missing = match frame.kind {
            HEADER => Some(frame.number(4)),
            BODY => self
                .missing
                .map(|missing| missing.saturating_sub(frame.payload.len() as u64)),
            _ => self.missing,
        };
        self.frames.push(frame);
    }

    /// The answer to a `get`, which is one message and not two.
    fn is_asked_for(&self) -> bool {
        self.frames[0].is_method(GET_OK)
    }
}

/// To the broker.
pub struct Acknowledgements {
    channels: Channels,
    buffer: Vec<u8>,
    greeted: bool,
}

impl Acknowledgements {
    /// For the same connection.
    pub fn of(deliveries: &Deliveries) -> Self {
        Self {
            channels: deliveries.channels.clone(),
            buffer: Vec::new(),
            greeted: false,
        }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.buffer.extend_from_slice(bytes);
        let mut out = Vec::new();
        if !self.greeted {
            if self.buffer.len() < GREETING {
                return out;
            }
            out.extend(self.buffer.drain(..GREETING));
            self.greeted = true;
        }
        while let Some(frame) = Frame::first_of(&mut self.buffer) {
            let flags = frame.payload.get(12).copied().unwrap_or_default();
            if frame.is_method(ACK) {
                self.settle(&frame, flags & 1 != 0, (ACK, 0), &mut out);
            } else if frame.is_method(NACK) {
                self.settle(&frame, flags & 1 != 0, (NACK, flags & 2), &mut out);
            } else if frame.is_method(REJECT) {
                self.settle(&frame, false, (REJECT, flags), &mut out);
            } else {
                if frame.is_method(CHANNEL_OPEN) {
                    lock(&self.channels).remove(&frame.channel);
                }
                frame.write(&mut out);
            }
        }
        out
    }

    fn settle(&self, frame: &Frame, multiple: bool, how: ([u8; 4], u8), out: &mut Vec<u8>) {
        let mut channels = lock(&self.channels);
        let tags = channels.entry(frame.channel).or_default();
        for (real, method, flags) in tags.settle(frame.number(4), multiple, how) {
            let tag = real.to_be_bytes();
            let payload = [method.as_slice(), &tag, &[flags]].concat();
            let told = Frame {
                payload,
                ..frame.clone()
            };
            told.write(out);
        }
    }
}

//! One connection: two directions, each with a reader that says when its bytes are
//! due, and a writer that lets them go then.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frames::Codec;
use super::{Faults, Protocol, Shared, Way};

/// Bytes read at once, and how many such pieces wait: what a direction that is
/// stalled holds before its sender feels it.
const PIECE: usize = 16 * 1024;
const WAITING: usize = 16;
/// Frames to be shuffled wait this long for others.
const HOLD: Duration = Duration::from_millis(30);
/// A limited rate is kept in steps of this length.
const STEP: Duration = Duration::from_millis(20);

/// The connection ends without a goodbye.
#[derive(Debug)]
pub struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

/// Until both sides have said goodbye. `number` tells connections apart.
pub async fn both_ways(
    client: &mut TcpStream,
    server: &mut TcpStream,
    protocol: Protocol,
    number: u64,
    shared: &Shared,
) -> Result<(), Broken> {
    let [requests, answers] = Codec::pair(protocol);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (request_pieces, due_requests) = mpsc::channel(WAITING);
    let (answer_pieces, due_answers) = mpsc::channel(WAITING);
    let dice = |way| Dice::new(number * 2 + u64::from(way == Way::ToClient));
    tokio::try_join!(
        read(
            from_client,
            request_pieces,
            requests,
            dice(Way::ToServer),
            shared
        ),
        read(
            from_server,
            answer_pieces,
            answers,
            dice(Way::ToClient),
            shared
        ),
        write(
            to_server,
            due_requests,
            Way::ToServer,
            shared.faults.subscribe()
        ),
        write(
            to_client,
            due_answers,
            Way::ToClient,
            shared.faults.subscribe()
        ),
    )?;
    Ok(())
}

async fn read(
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    mut codec: Codec,
    mut dice: Dice,
    shared: &Shared,
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE];
    let mut due = Instant::now();
    loop {
        let count = if codec.holds() {
            match timeout(HOLD, from.read(&mut buffer)).await {
                Ok(count) => Some(count?),
                Err(_) => None,
            }
        } else {
            Some(from.read(&mut buffer).await?)
        };
        let faults = shared.faults.borrow().clone();
        let rng = dice.of(faults.seed);
        let bytes = match count {
            None | Some(0) => codec.release(rng),
            Some(count) => codec.take(&buffer[..count], faults.frames, rng),
        };
        let disturbed = codec.disturbed();
        shared.disturbed.fetch_add(disturbed, Ordering::Relaxed);
        let late = faults.jitter.mul_f64(rng.random_range(0.0..=1.0));
        // What came later is never due earlier.
        due = due.max(Instant::now() + faults.latency + late);
        if !bytes.is_empty() && pieces.send(Piece { due, bytes }).await.is_err() {
            return Err(Broken);
        }
        if count == Some(0) {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    way: Way,
    mut faults: watch::Receiver<Faults>,
) -> Result<(), Broken> {
    // What a cut still lets pass.
    let mut left = None;
    while let Some(piece) = pieces.recv().await {
        sleep_until(piece.due).await;
        let mut rest = piece.bytes.as_slice();
        while !rest.is_empty() {
            let now = flowing(&mut faults, way).await?;
            let mut length = rest.len();
            if let Some(rate) = now.rate {
                let step = rate * STEP.as_millis() as u64 / 1_000;
                length = length.min(step.max(1) as usize);
            }
            match now.cut {
                Some((cut, after)) if cut == way => {
                    let left = left.get_or_insert(after);
                    if *left == 0 {
                        to.shutdown().await?;
                        return Err(Broken);
                    }
                    length = length.min(*left);
                    *left -= length;
                }
                _ => left = None,
            }
            to.write_all(&rest[..length]).await?;
            rest = &rest[length..];
            if let Some(rate) = now.rate {
                let taken = length as f64 / rate.max(1) as f64;
                sleep(Duration::from_secs_f64(taken)).await;
            }
        }
    }
    // A goodbye is as late as bytes are.
    flowing(&mut faults, way).await?;
    to.shutdown().await?;
    Ok(())
}

/// Waits until nothing holds this direction; what is wrong then.
async fn flowing(faults: &mut watch::Receiver<Faults>, way: Way) -> Result<Faults, Broken> {
    let now = faults.wait_for(|faults| !faults.is_stalled(way)).await;
    Ok(now.map_err(|_| Broken)?.clone())
}

/// Chance that is the same for the same seed and connection.
struct Dice {
    number: u64,
    seed: u64,
    rng: StdRng,
}

impl Dice {
    fn new(number: u64) -> Self {
        Self {
            number,
            seed: 0,
            rng: StdRng::seed_from_u64(number),
        }
    }

    fn of(&mut self, seed: u64) -> &mut StdRng {
        if seed != self.seed {
            *self = Self {
                seed,
                rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ self.number),
                ..Self::new(self.number)
            };
        }
        &mut self.rng
    }
}

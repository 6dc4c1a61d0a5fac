//! Writes a history while it happens.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chat_events::{ConversationId, UserId};

use super::record::{Function, Kind, Record};

const BUFFER: usize = 256 * 1024;

/// One history, shared by all clients of this program. A line costs about a
/// microsecond; memory is bounded by the buffer.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    start: Instant,
    start_wall: u64,
    processes: AtomicU32,
    output: Mutex<Output>,
}

struct Output {
    writer: Box<dyn Write + Send>,
    /// The first error. A history with a hole would accuse the innocent.
    broken: Option<io::Error>,
}

impl Recorder {
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self::to(BufWriter::with_capacity(BUFFER, file)))
    }

    pub fn to(writer: impl Write + Send + 'static) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(Arc::new(Shared {
            start: Instant::now(),
            start_wall: since_1970.unwrap_or_default().as_micros() as u64,
            processes: AtomicU32::new(1),
            output: Mutex::new(Output {
                writer: Box::new(writer),
                broken: None,
            }),
        }))
    }

    /// A client of `user` that starts with an empty view.
    pub fn process(&self, user: UserId) -> Process {
        Process {
            recorder: self.clone(),
            number: self.0.processes.fetch_add(1, Ordering::Relaxed),
            user: Some(user),
        }
    }

    /// The harness itself.
    pub fn harness(&self) -> Process {
        Process {
            recorder: self.clone(),
            number: 0,
            user: None,
        }
    }

    /// Who is in a new conversation.
    pub fn conversation(&self, conversation: ConversationId, members: &[UserId]) {
        for member in members {
            let mut line = self.harness().line(Kind::Ok, Function::Join);
            (line.conv, line.by) = (Some(conversation), Some(*member));
            self.write(&line);
        }
    }

    /// Something is broken on purpose from `Invoke` on, and healed at `Ok`.
    pub fn fault(&self, what: &str, kind: Kind) {
        let mut line = self.harness().line(kind, Function::Fault);
        line.of = Some(what.to_owned());
        self.write(&line);
    }

    /// As lines have it: microseconds since the start.
    pub fn now(&self) -> u64 {
        self.0.start.elapsed().as_micros() as u64
    }

    /// Everything is on its way to the disk.
    ///
    /// # Errors
    /// When any line could not be written: the history is worth nothing then.
    pub fn finish(&self) -> io::Result<()> {
        let mut output = self.output();
        match output.broken.take() {
            Some(error) => Err(error),
            None => output.writer.flush(),
        }
    }

    fn write(&self, record: &Record) {
        let mut output = self.output();
        if output.broken.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut output.writer, record)
            .map_err(io::Error::from)
            .and_then(|()| output.writer.write_all(b"\n"));
        output.broken = written.err();
    }

    fn output(&self) -> std::sync::MutexGuard<'_, Output> {
        self.0.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.number)
    }
}

/// The hand of one client in the history.
#[derive(Clone)]
pub struct Process {
    recorder: Recorder,
    number: u32,
    user: Option<UserId>,
}

impl Process {
    /// A line of now, to be filled in and given to [`Process::write`].
    pub fn line(&self, kind: Kind, f: Function) -> Record {
        let shared = &self.recorder.0;
        let t_mono = self.recorder.now();
        Record {
            t_wall: shared.start_wall + t_mono,
            user: self.user,
            ..Record::new(t_mono, self.number, kind, f)
        }
    }

    pub fn write(&self, record: &Record) {
        self.recorder.write(record);
    }

    /// The same client, after it has forgotten all it knew.
    pub fn reborn(&self) -> Self {
        self.user
            .map_or_else(|| self.clone(), |user| self.recorder.process(user))
    }
}

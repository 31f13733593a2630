//! Ranks that are processes, started by `mpirun`, `srun` or an MPI operator.
//!
//! Communicators must not change threads, so one thread owns the library: it initialises MPI, carries every exchange with
//! non-blocking sends and receives, watches the time limit, and finalises MPI. The program only hands it work. On rank 0
//! it also keeps the queues that ranks draw from, while the program computes.

use crate::queue::Desk as Queues;
use crate::{Collective, CollectiveError};
use mpi::point_to_point::{Destination, Source};
use mpi::request::{LocalScope, Request, scope};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::{Rank, Tag, Threading};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A world of MPI processes.
///
/// Dropping it waits for the other ranks in `MPI_Finalize`. After an error the library still holds unfinished messages:
/// the process should then end with [`Mpi::abort`].
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    size: usize,
    /// One caller at a time: an exchange is a job and its answer.
    desk: Mutex<Desk>,
    /// After an error the thread never ends by itself.
    failed: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    jobs: Option<Sender<Job>>,
    answers: Receiver<Answer>,
}

type Answer = Result<Vec<Vec<u8>>, CollectiveError>;

enum Job {
    Exchange { operation: &'static str, messages: Vec<Vec<u8>> },
    Draw { queue: u64, of: u64 },
    Abort { code: i32 },
}

impl Mpi {
    /// Joins the world that the launcher made; without a launcher it has one rank. None waits for another longer than
    /// `limit`.
    ///
    /// Errors: `Library` where MPI cannot be initialised, for instance because it was before.
    pub fn join(limit: Duration) -> Result<Self, CollectiveError> {
        let (jobs, inbox) = channel();
        let (outbox, answers) = channel();
        let (told, place) = channel();
        let thread = thread::Builder::new()
            .name("mpi".to_string())
            .spawn(move || carry(limit, &told, &inbox, &outbox))
            .map_err(|error| library(&format!("its thread cannot be started, {error}")))?;
        let ended = |_| library("its thread ended");
        let (rank, size) = place.recv().map_err(ended)??;
        let desk = Mutex::new(Desk { jobs: Some(jobs), answers });
        let failed = AtomicBool::new(false);
        Ok(Self { rank, size, desk, failed, thread: Some(thread) })
    }

    /// Ends every rank of the world, this one included, with an exit code; returns only if the library does not obey.
    pub fn abort(&self, code: i32) {
        let desk = self.desk();
        if let Some(jobs) = &desk.jobs
            && jobs.send(Job::Abort { code }).is_ok()
        {
            // Held while the library works at it: it ends this process.
            thread::sleep(Duration::from_secs(5));
        }
    }

    /// Hands a job to the thread, and waits for its answer.
    fn have_done(&self, job: Job) -> Answer {
        let desk = self.desk();
        let ended = || library("its thread ended after an earlier error");
        let jobs = desk.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job).map_err(|_| ended())?;
        let answer = desk.answers.recv().map_err(|_| ended())?;
        if matches!(answer, Err(CollectiveError::Missing { .. })) {
            self.failed.store(true, Ordering::SeqCst);
        }
        answer
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.size
    }

    fn exchange(
        &self,
        operation: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, CollectiveError> {
        assert_eq!(messages.len(), self.size, "one message for each rank");
        self.have_done(Job::Exchange { operation, messages })
    }

    fn draw(
        &self,
        queue: u64,
        of: u64,
        _last: Option<u64>,
    ) -> Result<Option<u64>, CollectiveError> {
        let given = self.have_done(Job::Draw { queue, of })?;
        let given = given[0].as_slice().try_into().expect("a number has eight bytes");
        Ok(Some(u64::from_le_bytes(given)).filter(|&number| number != NOTHING))
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.failed.load(Ordering::SeqCst) {
            return;
        }
        self.desk().jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn library(found: &str) -> CollectiveError {
    CollectiveError::Library { found: found.to_string() }
}

/// The thread that owns the library.
fn carry(
    limit: Duration,
    told: &Sender<Result<(usize, usize), CollectiveError>>,
    inbox: &Receiver<Job>,
    outbox: &Sender<Answer>,
) {
    // Funneled: this thread alone calls the library, but it is not the main thread of the program. Open MPI and MPICH
    // take the thread that initialises for the main one.
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        drop(told.send(Err(library("it is initialised already"))));
        return;
    };
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    if told.send(Ok((rank, size))).is_err() {
        return;
    }
    let mut queues = Queues::default();
    while let Some(job) = next_job(&world, inbox, &mut queues) {
        let (world, queues, operation, last) = (&world, &mut queues, "draw", mpi::time());
        let watch = Watch { world, limit, operation, inbox, outbox, queues, last };
        match job {
            Job::Abort { code } => world.abort(code),
            Job::Exchange { operation, messages } => {
                exchange(Watch { operation, ..watch }, messages);
            }
            Job::Draw { queue, of } => draw(watch, queue, of),
        }
    }
}

/// What the program wants done next; meanwhile other ranks may draw.
fn next_job(world: &SimpleCommunicator, inbox: &Receiver<Job>, queues: &mut Queues) -> Option<Job> {
    while queues.is_open() {
        serve(world, queues);
        match inbox.recv_timeout(Duration::from_millis(1)) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    inbox.recv().ok()
}

/// Gives numbers to the ranks that have asked for one.
fn serve(world: &SimpleCommunicator, queues: &mut Queues) {
    while let Some((message, status)) = world.any_process().immediate_matched_probe_with_tag(ASKED)
    {
        let mut asked = [0_u64; 2];
        message.matched_receive_into(&mut asked[..]);
        let [queue, of] = asked;
        let given = queues.draw(queue, of, world.size() as usize).unwrap_or(NOTHING);
        world.process_at_rank(status.source_rank()).send_with_tag(&given, GIVEN);
    }
}

/// Draws for this rank: of rank 0, which keeps the queues.
fn draw(mut watch: Watch<'_>, queue: u64, of: u64) {
    let world = watch.world;
    let mut given = [NOTHING];
    if world.rank() == 0 {
        given[0] = watch.queues.draw(queue, of, world.size() as usize).unwrap_or(NOTHING);
    } else {
        let asked = [queue, of];
        let keeper = world.process_at_rank(0);
        scope(|scope| {
            let asks = keeper.immediate_send_with_tag(scope, &asked[..], ASKED);
            let hears = keeper.immediate_receive_into_with_tag(scope, &mut given[..], GIVEN);
            watch.all_of(vec![(0, asks), (0, hears)]);
        });
    }
    // The receiver is gone only when the program ends.
    drop(watch.outbox.send(Ok(vec![given[0].to_le_bytes().to_vec()])));
}

/// What precedes a message: its length, and the name of its operation, so that ranks out of step are told.
#[derive(Clone, Copy, Debug)]
struct Header {
    length: u64,
    name: [u8; Self::NAME],
}

impl Header {
    const NAME: usize = 24;
    const BYTES: usize = 8 + Self::NAME;

    fn bytes(operation: &str, length: usize) -> [u8; Self::BYTES] {
        assert!(operation.len() <= Self::NAME, "{operation} is too long for a header");
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&(length as u64).to_le_bytes());
        bytes[8..8 + operation.len()].copy_from_slice(operation.as_bytes());
        bytes
    }

    fn read(bytes: [u8; Self::BYTES]) -> Self {
        let (length, name) = bytes.split_first_chunk().expect("a header has a length");
        let name = name.try_into().expect("the rest of a header is its name");
        Self { length: u64::from_le_bytes(*length), name }
    }

    /// Whether the other rank does the same. Errors: `OutOfStep`.
    fn check(&self, operation: &'static str, other: usize) -> Result<(), CollectiveError> {
        let found = String::from_utf8_lossy(&self.name);
        match found.trim_end_matches('\0') {
            same if same == operation => Ok(()),
            found => {
                let found = found.to_string();
                Err(CollectiveError::OutOfStep { operation, other, found })
            }
        }
    }
}

/// Messages longer than an `int` counts travel in pieces; pieces also bound what the library copies at a time.
const PIECE: usize = 64 << 20;
/// Headers first, then pieces: messages of one pair and tag do not overtake each other.
const HEADER: Tag = 1;
const CONTENT: Tag = 2;
/// What rank 0 is asked for, a queue and its length, and the number it gives.
const ASKED: Tag = 3;
const GIVEN: Tag = 4;
/// No queue is that long.
const NOTHING: u64 = u64::MAX;

/// Sends and receives without blocking; answers when all is done, or names the missing ranks when the time is over.
fn exchange(mut watch: Watch<'_>, mut messages: Vec<Vec<u8>>) {
    let (world, operation, outbox) = (watch.world, watch.operation, watch.outbox);
    let rank = world.rank() as usize;
    let own = std::mem::take(&mut messages[rank]);
    let others: Vec<usize> = (0..messages.len()).filter(|&other| other != rank).collect();
    let headers: Vec<[u8; Header::BYTES]> =
        messages.iter().map(|message| Header::bytes(operation, message.len())).collect();
    let mut incoming_headers = vec![[0; Header::BYTES]; messages.len()];
    // Headers and contents leave at once; contents can be received when their lengths are known.
    scope(|sends| {
        let mut leaving: Vec<Pending<'_, '_, [u8]>> = Vec::new();
        for &other in &others {
            let to = world.process_at_rank(other as Rank);
            let header = &headers[other][..];
            leaving.push((other, to.immediate_send_with_tag(sends, header, HEADER)));
            for piece in messages[other].chunks(PIECE) {
                leaving.push((other, to.immediate_send_with_tag(sends, piece, CONTENT)));
            }
        }
        scope(|first| {
            let mut pending: Vec<Pending<'_, '_, [u8]>> = Vec::new();
            for (other, slot) in incoming_headers.iter_mut().enumerate().filter(|&(o, _)| o != rank)
            {
                let from = world.process_at_rank(other as Rank);
                let request = from.immediate_receive_into_with_tag(first, &mut slot[..], HEADER);
                pending.push((other, request));
            }
            watch.all_of(pending);
        });
        let headers: Vec<Header> = incoming_headers.iter().map(|&h| Header::read(h)).collect();
        let mut incoming: Vec<Vec<u8>> =
            headers.iter().map(|header| vec![0; header.length as usize]).collect();
        scope(|second| {
            let mut pending: Vec<Pending<'_, '_, [u8]>> = Vec::new();
            for (other, bytes) in incoming.iter_mut().enumerate().filter(|&(o, _)| o != rank) {
                let from = world.process_at_rank(other as Rank);
                for piece in bytes.chunks_mut(PIECE) {
                    pending.push((
                        other,
                        from.immediate_receive_into_with_tag(second, piece, CONTENT),
                    ));
                }
            }
            watch.all_of(pending);
        });
        watch.all_of(leaving);
        let in_step = others.iter().try_for_each(|&o| headers[o].check(operation, o));
        incoming[rank] = own;
        // The receiver is gone only when the program ends.
        drop(outbox.send(in_step.map(|()| incoming)));
    });
}

/// The other rank and what is under way with it.
type Pending<'a, 's, D> = (usize, Request<'a, D, &'s LocalScope<'a>>);

/// Waits for requests as long as something moves.
struct Watch<'w> {
    world: &'w SimpleCommunicator,
    limit: Duration,
    operation: &'static str,
    inbox: &'w Receiver<Job>,
    outbox: &'w Sender<Answer>,
    /// On rank 0: others may still draw while it waits.
    queues: &'w mut Queues,
    /// When a request ended last, by MPI's clock.
    last: f64,
}

impl Watch<'_> {
    /// Returns when all are done. When nothing has moved for the time limit, it answers with the missing ranks and never
    /// returns: the library may still write into the buffers, so they have to stay. It then only waits to abort.
    fn all_of<D: ?Sized>(&mut self, mut pending: Vec<Pending<'_, '_, D>>) {
        let mut idle = 0_u32;
        while !pending.is_empty() {
            if self.queues.is_open() {
                serve(self.world, self.queues);
            }
            let before = pending.len();
            let mut open = Vec::with_capacity(before);
            for (other, request) in pending {
                if let Err(request) = request.test() {
                    open.push((other, request));
                }
            }
            pending = open;
            if pending.len() < before {
                (self.last, idle) = (mpi::time(), 0);
            } else if mpi::time() - self.last > self.limit.as_secs_f64() {
                self.give_up(&pending);
            } else {
                idle += 1;
                pause(idle);
            }
        }
    }

    fn give_up<D: ?Sized>(&self, pending: &[Pending<'_, '_, D>]) -> ! {
        let mut missing: Vec<usize> = pending.iter().map(|&(other, _)| other).collect();
        missing.sort_unstable();
        missing.dedup();
        let (operation, rank) = (self.operation, self.world.rank() as usize);
        let seconds = self.limit.as_secs_f64();
        let error = CollectiveError::Missing { operation, rank, missing, seconds };
        drop(self.outbox.send(Err(error)));
        loop {
            match self.inbox.recv() {
                Ok(Job::Abort { code }) => self.world.abort(code),
                Ok(Job::Exchange { .. } | Job::Draw { .. }) => {
                    let found = format!("{operation} has failed before");
                    drop(self.outbox.send(Err(CollectiveError::Library { found })));
                }
                Err(_) => thread::park(),
            }
        }
    }
}

/// Looks often at first, for small messages, then lets the computing threads have the core.
fn pause(idle: u32) {
    match idle {
        0..=200 => thread::yield_now(),
        201..=2000 => thread::sleep(Duration::from_micros(50)),
        _ => thread::sleep(Duration::from_millis(1)),
    }
}

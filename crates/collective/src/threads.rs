//! Ranks that are threads of one process: for tests, and to try a world without a launcher.

use crate::queue::Desk;
use crate::{Collective, CollectiveError};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One rank of a world of threads.
///
/// Dropping it tells the others that it has ended, so that a panic in one thread does not leave them waiting.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    limit: Duration,
    world: Arc<World>,
}

#[derive(Debug)]
struct World {
    size: usize,
    post: Mutex<Post>,
    news: Condvar,
    queues: Mutex<Desk>,
}

#[derive(Debug)]
struct Post {
    /// By receiver and sender: what is not fetched yet.
    boxes: Vec<Vec<VecDeque<Letter>>>,
    /// By rank: whether it has ended.
    left: Vec<bool>,
}

#[derive(Debug)]
struct Letter {
    operation: &'static str,
    bytes: Vec<u8>,
}

impl Threads {
    /// The ranks of a world of `size`, one for each thread; none waits for another longer than `limit`.
    pub fn world(size: usize, limit: Duration) -> Vec<Self> {
        let boxes = || (0..size).map(|_| VecDeque::new()).collect();
        let post = Post { boxes: (0..size).map(|_| boxes()).collect(), left: vec![false; size] };
        let queues = Mutex::default();
        let world = Arc::new(World { size, post: Mutex::new(post), news: Condvar::new(), queues });
        (0..size).map(|rank| Self { rank, limit, world: Arc::clone(&world) }).collect()
    }
}

impl World {
    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    /// Senders whose letter to `rank` has not come.
    fn missing(&self, rank: usize) -> impl Iterator<Item = usize> + '_ {
        self.boxes[rank]
            .iter()
            .enumerate()
            .filter(|(_, letters)| letters.is_empty())
            .map(|(s, _)| s)
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world.size
    }

    fn exchange(
        &self,
        operation: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, CollectiveError> {
        assert_eq!(messages.len(), self.world.size, "one message for each rank");
        let rank = self.rank;
        let mut post = self.world.post();
        for (receiver, bytes) in messages.into_iter().enumerate() {
            post.boxes[receiver][rank].push_back(Letter { operation, bytes });
        }
        self.world.news.notify_all();
        let waits = |post: &mut Post| {
            post.missing(rank).next().is_some() && !post.missing(rank).any(|s| post.left[s])
        };
        let waited = self.world.news.wait_timeout_while(post, self.limit, waits);
        let (mut post, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = post.missing(rank).find(|&sender| post.left[sender]) {
            return Err(CollectiveError::Left { operation, left });
        }
        let missing: Vec<usize> = post.missing(rank).collect();
        if !missing.is_empty() {
            let seconds = self.limit.as_secs_f64();
            return Err(CollectiveError::Missing { operation, rank, missing, seconds });
        }
        let letters = post.boxes[rank].iter_mut().map(|letters| letters.pop_front());
        let letters: Vec<Letter> = letters.map(|l| l.expect("none is missing")).collect();
        for (other, letter) in letters.iter().enumerate() {
            if letter.operation != operation {
                let found = letter.operation.to_string();
                return Err(CollectiveError::OutOfStep { operation, other, found });
            }
        }
        Ok(letters.into_iter().map(|letter| letter.bytes).collect())
    }

    fn draw(
        &self,
        queue: u64,
        of: u64,
        _last: Option<u64>,
    ) -> Result<Option<u64>, CollectiveError> {
        let mut queues = self.world.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(queues.draw(queue, of, self.world.size))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.world.post().left[self.rank] = true;
        self.world.news.notify_all();
    }
}

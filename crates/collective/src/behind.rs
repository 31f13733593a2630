//! Sums that travel while the caller computes.

use crate::{Collective, CollectiveError, Wire};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Takes values whose sum may begin at once.
#[derive(Clone, Debug)]
pub struct Post(Sender<Vec<f32>>);

impl Post {
    /// Posts the next values. Every rank posts as many values in the same order.
    pub fn sum(&self, values: Vec<f32>) {
        // After an error nobody takes them any more; whoever waits for the sums is told.
        let _ = self.0.send(values);
    }
}

/// Does `work` while what it posts is summed over all ranks, by a thread beside this one, in the order of the posts.
///
/// Gives what the work gave, and the sums once all have come: each that of [`Collective::sum`], bit for bit. The work must not
/// use the collective. A world of one starts no thread and copies nothing. Errors: of the first sum that fails, as
/// [`Collective::sum`]; later ones are not begun.
pub fn sum_behind<R>(
    ranks: &dyn Collective,
    wire: Wire,
    work: impl FnOnce(&Post) -> R,
) -> (R, Result<Vec<Vec<f32>>, CollectiveError>) {
    let (sender, posted) = channel();
    let work = || work(&Post(sender));
    if ranks.world_size() == 1 {
        let done = work();
        return (done, Ok(posted.into_iter().collect()));
    }
    thread::scope(|scope| {
        let sums = scope.spawn(move || sum_all(ranks, wire, &posted));
        let done = work();
        (done, sums.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn sum_all(
    ranks: &dyn Collective,
    wire: Wire,
    posted: &Receiver<Vec<f32>>,
) -> Result<Vec<Vec<f32>>, CollectiveError> {
    let sum = |mut values: Vec<f32>| ranks.sum(&mut values, wire).map(|()| values);
    posted.iter().map(sum).collect()
}

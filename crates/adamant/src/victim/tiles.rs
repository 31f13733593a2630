//! All cores on one batch: each thread takes tiles of images through the whole attack, on a session of its own.
//!
//! Results are placed by position and every draw is keyed by image, so they are the same bits for any tile size and
//! thread count (G7). The per-batch coin is keyed by step and rank, so all tiles see one coin.

use super::{FrozenVictim, failed};
use crate::attack::{Attack, AttackError, AttackStream, Passes, Perturbed, Victim, VictimError};
use crate::image::{Batch, Images, Logits};
use engine::Frozen;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `attack` on `batch` with all threads of the current pool, and counts the passes made.
///
/// Errors: those of the attack; of several, the one of the earliest image.
pub fn perturb_in_tiles<F: Frozen>(
    frozen: &F,
    attack: &dyn Attack,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<(Perturbed, Passes), AttackError> {
    let at_once = attack.tiles_at_once();
    let (mut all, passes) = run_in_tiles(frozen, batch, at_once, &|victim, some| {
        Ok(vec![attack.perturb(victim, some, stream)?])
    })?;
    let only = all.pop().expect("every tile gives one proposal, and a batch has a tile");
    Ok((only, passes))
}

/// As [`perturb_in_tiles`], with what the attack proposes at each of its milestones before the last proposal.
///
/// Errors: those of the attack; of several, the one of the earliest image.
pub fn perturb_along_in_tiles<F: Frozen>(
    frozen: &F,
    attack: &dyn Attack,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<(Vec<Perturbed>, Passes), AttackError> {
    let at_once = attack.tiles_at_once();
    run_in_tiles(frozen, batch, at_once, &|victim, some| attack.perturb_along(victim, some, stream))
}

/// What is done with one tile: some proposals for each of its images.
type Proposals<'a> =
    dyn Fn(&mut dyn Victim, &Batch) -> Result<Vec<Perturbed>, AttackError> + Sync + 'a;

fn run_in_tiles<F: Frozen>(
    frozen: &F,
    batch: &Batch,
    at_once: usize,
    propose: &Proposals<'_>,
) -> Result<(Vec<Perturbed>, Passes), AttackError> {
    let tiles = in_tiles(frozen, batch.images.count, at_once, |session, positions| {
        let mut victim = FrozenVictim::new(session, frozen.classes());
        let some = batch.select(&positions.collect::<Vec<_>>());
        let proposed = propose(&mut victim, &some);
        proposed.map(|proposed| (proposed, victim.passes()))
    })?;
    let mut passes = Passes::default();
    let mut all: Vec<Perturbed> = Vec::new();
    for (proposed, tile_passes) in tiles {
        passes.forward += tile_passes.forward;
        passes.backward += tile_passes.backward;
        for (place, tile) in proposed.into_iter().enumerate() {
            match all.get_mut(place) {
                Some(before) => append(before, tile),
                None => all.push(tile),
            }
        }
    }
    if all.is_empty() {
        let images = Images { count: 0, shape: batch.images.shape, pixels: Vec::new() };
        all.push(Perturbed { images, targets: None, restarts: Vec::new() });
    }
    Ok((all, passes))
}

fn append(all: &mut Perturbed, tile: Perturbed) {
    all.images.count += tile.images.count;
    // As the attack says, so that the evaluator can find it wrong (G14).
    all.images.shape = tile.images.shape;
    all.images.pixels.extend(tile.images.pixels);
    if let Some(some) = tile.targets {
        all.targets.get_or_insert_default().extend(some);
    }
    all.restarts.extend(tile.restarts);
}

/// The logits of `images`, with all threads of the current pool.
///
/// Shapes: images as the network's input; `[count, classes]`. Errors: the engine's.
pub fn logits_in_tiles<F: Frozen>(frozen: &F, images: &Images) -> Result<Logits, VictimError> {
    let length = images.shape.len();
    let tiles = in_tiles(frozen, images.count, 1, |session, positions| {
        let pixels = &images.pixels[positions.start * length..positions.end * length];
        let (count, shape) = (positions.len(), images.shape);
        let view = engine::ImagesView { count, shape, pixels };
        engine::Session::logits(session, view).map_err(failed)
    })?;
    let values = tiles.into_iter().flat_map(|tile| tile.values).collect();
    Ok(Logits { count: images.count, classes: frozen.classes(), values })
}

/// `work` on every tile of `count` images, or so many tiles `at_once`; results in order of images.
fn in_tiles<F: Frozen, R: Send, E: Send>(
    frozen: &F,
    count: usize,
    at_once: usize,
    work: impl Fn(&mut F::Session<'_>, Range<usize>) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    // No larger than one thread's share, so that a small batch still uses every core.
    let share = count.div_ceil(rayon::current_num_threads());
    let size = (at_once * frozen.tile()).min(share).max(1);
    let tiles = count.div_ceil(size);
    let next = AtomicUsize::new(0);
    let per_thread = rayon::broadcast(|_| {
        let mut session = None;
        let mut done = Vec::new();
        // Tiles are taken as threads become free: restarts make some images dearer than others.
        loop {
            let tile = next.fetch_add(1, Ordering::Relaxed);
            if tile >= tiles {
                return done;
            }
            let session = session.get_or_insert_with(|| frozen.session());
            let positions = tile * size..count.min((tile + 1) * size);
            done.push((tile, work(session, positions)));
        }
    });
    let mut done: Vec<(usize, Result<R, E>)> = per_thread.into_iter().flatten().collect();
    done.sort_unstable_by_key(|&(tile, _)| tile);
    done.into_iter().map(|(_, result)| result).collect()
}

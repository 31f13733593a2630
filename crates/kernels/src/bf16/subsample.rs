//! Shortcuts without weights over cells: every `stride`-th pixel, zero channels around, and the way back.

use crate::half::{CELL, CellLayout, from_f32, to_f32};

/// Channels that move together: from a place in one block to a place in another.
struct Move {
    from: (usize, usize),
    to: (usize, usize),
    count: usize,
}

/// How `channels` channels of blocks move up by `before`.
fn moves(channels: usize, before: usize) -> Vec<Move> {
    let mut all = Vec::new();
    let mut channel = 0;
    while channel < channels {
        let (from, to) = (channel, channel + before);
        let count = (CELL - from % CELL).min(CELL - to % CELL).min(channels - channel);
        all.push(Move { from: (from / CELL, from % CELL), to: (to / CELL, to % CELL), count });
        channel += count;
    }
    all
}

/// Calls `visit` with the first cells of every pixel that is kept: of what is read, and of what is kept.
fn each_kept(
    large: &CellLayout,
    small: &CellLayout,
    images: usize,
    stride: usize,
    mut visit: impl FnMut(usize, usize),
) {
    let sizes = [large.height, large.width].map(|length| length.div_ceil(stride));
    assert_eq!([small.height, small.width], sizes, "every {stride}-th row and column");
    for image in 0..images {
        let (from, to) = (large.image_cells(image), small.image_cells(image));
        for row in 0..small.height {
            for column in 0..small.width {
                let read = large.cell(row * stride, (column * stride) as isize, 0);
                visit(from + read, to + small.cell(row, column as isize, 0));
            }
        }
    }
}

/// Keeps every `stride`-th row and column of `images` images, with `before` zero channels before its own and zeros behind.
///
/// Borders are left alone.
pub fn subsample(
    from: (&CellLayout, &[u16]),
    to: (&CellLayout, &mut [u16]),
    images: usize,
    stride: usize,
    before: usize,
) {
    let ((from, values), (to, kept)) = (from, to);
    assert!(before + from.channels <= to.channels, "channels around those that are kept");
    let moves = moves(from.channels, before);
    each_kept(from, to, images, stride, |source, target| {
        for block in 0..to.blocks() {
            kept[(target + block * to.plane_cells()) * CELL..][..CELL].fill(0);
        }
        for Move { from: (block, at), to: (to_block, to_at), count } in &moves {
            let source = (source + block * from.plane_cells()) * CELL + at;
            let target = (target + to_block * to.plane_cells()) * CELL + to_at;
            kept[target..][..*count].copy_from_slice(&values[source..][..*count]);
        }
    });
}

/// Adds the gradient of what [`subsample`] kept to that of what it read, rounded.
pub fn add_spread(
    from: (&CellLayout, &[u16]),
    to: (&CellLayout, &mut [u16]),
    images: usize,
    stride: usize,
    before: usize,
) {
    let ((from, gradient), (to, sums)) = (from, to);
    assert!(before + to.channels <= from.channels, "channels around those that are kept");
    let moves = moves(to.channels, before);
    each_kept(to, from, images, stride, |target, source| {
        for Move { from: (to_block, to_at), to: (block, at), count } in &moves {
            let source = (source + block * from.plane_cells()) * CELL + at;
            let target = (target + to_block * to.plane_cells()) * CELL + to_at;
            let sums = &mut sums[target..][..*count];
            for (sum, &x) in sums.iter_mut().zip(&gradient[source..][..*count]) {
                *sum = from_f32(to_f32(*sum) + to_f32(x));
            }
        }
    });
}

//! The table of a filtered pass: a tile is four strips, a step a row of the window in a block of channels.

use super::{POSITIONS, PatchLayout, STRIPS};
use crate::half::pass::WindowRow;
use crate::half::table::{Reads, Step, Table, Tile};
use crate::half::{CELL, CellLayout, HalfPass, TILE};
use std::collections::HashMap;

impl Table {
    /// As [`Table::new`], from cells whose columns are in order.
    pub(in crate::half) fn filtered(
        pass: &HalfPass,
        source: CellLayout,
        operands: [CellLayout; 3],
    ) -> Self {
        let rows = pass.rows_of_three().expect("a pass that can be filtered");
        let layout = PatchLayout { cells: source, width: pass.width, first: rows[0].first };
        let reads = Reads::Patches(layout);
        let mut table = Self::empty(pass, reads, operands, POSITIONS * CELL);
        let mut classes = HashMap::new();
        for row in 0..pass.height {
            let seen = |window: &&WindowRow| {
                (0..source.height as isize).contains(&(row as isize + window.row))
            };
            let seen: Vec<usize> = (0..rows.len()).filter(|&at| seen(&&rows[at])).collect();
            let next = classes.len() as u16;
            let class = *classes.entry(seen).or_insert_with_key(|seen| {
                let steps = (0..source.blocks()).flat_map(|block| {
                    let layout = &layout;
                    let rows = &rows;
                    seen.iter().map(move |&at| Step {
                        input: (2 * (block * layout.plane()) as isize
                            + 2 * rows[at].row * layout.row() as isize)
                            as i32,
                        weights: ((block * rows.len() + at) * POSITIONS) as u32,
                    })
                });
                let begin = table.steps.len();
                table.steps.extend(steps);
                table.classes.push(begin..table.steps.len());
                next
            });
            for tile in 0..layout.strips().div_ceil(STRIPS) {
                let pixels = layout.pixels(tile);
                let inside = |&(column, _): &(usize, usize)| column < pass.width;
                let valid =
                    (0..TILE).filter(|&at| inside(&pixels[at])).fold(0, |v, at| v | 1 << at);
                // Results beyond the grid are never written: any place will do.
                let written = pixels.map(|pixel| if inside(&pixel) { pixel } else { pixels[0] });
                let places =
                    std::array::from_fn(|operand| table.place(pass, operand, row, &written));
                let source = layout.tile(row, tile) as i32;
                table.tiles.push(Tile { source, class, valid, places });
            }
        }
        table.reach = (0, layout.len(1) as i64);
        table.finish()
    }
}

//! The table of a filtered pass: a tile is a row of results of four patches, and stands beside the row below; a step is a
//! block of channels.

use super::{COLUMNS, DOWN, PATCHES, PatchLayout, ROWS};
use crate::half::source::Inputs;
use crate::half::table::{Member, Step, Table, Tile};
use crate::half::{CellLayout, HalfPass, TILE};

impl Table {
    /// As [`Table::new`], from cells whose columns are in order.
    pub(in crate::half) fn filtered(
        pass: &HalfPass,
        cells: CellLayout,
        operands: [CellLayout; 3],
    ) -> Self {
        let window = pass.window_of_three().expect("a pass that can be filtered");
        let layout =
            PatchLayout { cells, height: pass.height, width: pass.width, first: window.first };
        let mut table = Self::empty(pass, Inputs::Transformed(layout), operands, layout.row());
        table.steps = (0..cells.blocks())
            .map(|block| Step {
                input: (size_of::<u16>() * block * layout.plane()) as i32,
                weights: (block * ROWS * COLUMNS) as u32,
            })
            .collect();
        table.classes.push(0..table.steps.len());
        let tiles = layout.patches().div_ceil(PATCHES);
        for row in 0..pass.height {
            for tile in 0..tiles {
                let pixels = layout.pixels(tile);
                let inside = |&(column, _): &(usize, usize)| column < pass.width;
                let valid =
                    (0..TILE).filter(|&at| inside(&pixels[at])).fold(0, |bits, at| bits | 1 << at);
                // Results beyond the grid are never written: any place will do.
                let written = pixels.map(|pixel| if inside(&pixel) { pixel } else { pixels[0] });
                let places =
                    std::array::from_fn(|operand| table.place(pass, operand, row, &written));
                let source = layout.tile(row, tile) as i32;
                table.tiles.push(Tile { source, class: 0, valid, places });
            }
        }
        table.pairs = std::array::from_fn(|groups| {
            let upper = (0..pass.height).step_by(DOWN);
            let pairs = upper.flat_map(|row| {
                let lower = (row + 1).min(pass.height - 1);
                (0..tiles).map(move |tile| [row, lower].map(|row| row * tiles + tile))
            });
            let of_group = |group: usize| {
                let member = move |tile| Member { group: group as u32, tile: tile as u32 };
                pairs.clone().map(move |pair| pair.map(member))
            };
            (0..=groups).flat_map(of_group).collect()
        });
        table.reach = (0, layout.len(1) as i64);
        table
    }
}

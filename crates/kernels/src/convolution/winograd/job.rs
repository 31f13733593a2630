//! One pass: which results are wanted, and in which blocks of tiles they are computed.

use super::super::target::Target;
use super::Filter;
use crate::LANES;

/// Where a patch's results lie: the first pixel over all images, and its row and column in its map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Tile {
    pub pixel: usize,
    pub row: usize,
    pub column: usize,
}

/// Which results are wanted.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Wanted<'a> {
    /// All of maps without a border.
    All,
    /// Those of some tiles, of maps that have a border of one zero pixel, as their results have.
    Some(&'a [Tile]),
}

impl Wanted<'_> {
    /// Rows, and columns, on each side of a map that are read and never written.
    fn border(self) -> usize {
        match self {
            Self::All => 0,
            Self::Some(_) => 1,
        }
    }
}

/// One pass over maps of equal size; the result has their rows and columns.
pub(in super::super) struct Job<'a> {
    pub filter: Filter,
    /// Rows of a map, its border among them.
    pub height: usize,
    /// Columns of a map, its border among them.
    pub width: usize,
    pub wanted: Wanted<'a>,
    /// Channels read, a multiple of 16.
    pub channels: usize,
    /// `[images, height, width, channels]`.
    pub source: &'a [f32],
    /// `[side * side][panels][channels][16]`.
    pub weights: &'a [f32],
    pub target: Target<'a>,
}

impl Job<'_> {
    /// Asserts that all arrays have their lengths and all tiles lie in the maps; what is unsafe here rests on it.
    pub fn check(&self) {
        let pixels = self.source.len() / self.channels;
        assert_eq!(self.channels % LANES, 0, "channels of a convolution's input");
        assert_eq!(pixels % (self.height * self.width), 0, "whole maps");
        assert_eq!(pixels * self.channels, self.source.len(), "whole pixels");
        assert_eq!(
            self.weights.len(),
            self.filter.side().pow(2) * self.target.panels() * self.channels * LANES,
            "weights of a convolution pass"
        );
        self.target.check(pixels);
        if let Wanted::Some(tiles) = self.wanted {
            let inner = |at: usize, length: usize| (1..length - 1).contains(&at);
            let is_within = |tile: &Tile| {
                let inside = inner(tile.row, self.height) && inner(tile.column, self.width);
                let map = tile.pixel.checked_sub(tile.row * self.width + tile.column);
                inside
                    && map.is_some_and(|first| {
                        first.is_multiple_of(self.height * self.width) && first < pixels
                    })
            };
            assert!(tiles.iter().all(is_within), "tiles inside the maps");
        }
    }

    /// Tiles across a map, and down.
    fn grid(&self) -> (usize, usize) {
        let results = self.filter.results();
        (self.width.div_ceil(results), self.height.div_ceil(results))
    }

    /// How many tiles.
    pub fn tiles(&self) -> usize {
        let (across, down) = self.grid();
        match self.wanted {
            Wanted::All => {
                self.source.len() / (self.height * self.width * self.channels) * across * down
            }
            Wanted::Some(tiles) => tiles.len(),
        }
    }

    /// Tiles of a block: whole groups, about `most` and all blocks about the same, as a small last one would read all weights
    /// for little.
    pub fn block(&self, most: usize, group: usize) -> usize {
        let blocks = self.tiles().div_ceil(most.max(group)).max(1);
        self.tiles().div_ceil(blocks).max(1).next_multiple_of(group)
    }

    /// The rows and the columns behind which nothing is written, and the width of a map.
    pub fn ends(&self) -> (usize, usize, usize) {
        let border = self.wanted.border();
        (self.height - border, self.width - border, self.width)
    }

    /// Lists up to `block` tiles from `first`, whole groups, and says how many are real.
    pub fn list_tiles(
        &self,
        first: usize,
        block: usize,
        group: usize,
        tiles: &mut Vec<Tile>,
    ) -> usize {
        let count = block.min(self.tiles() - first);
        tiles.clear();
        match self.wanted {
            Wanted::Some(wanted) => tiles.extend_from_slice(&wanted[first..first + count]),
            Wanted::All => {
                let ((across, down), results) = (self.grid(), self.filter.results());
                tiles.extend((first..first + count).map(|index| {
                    let (image, index) = (index / (across * down), index % (across * down));
                    let (row, column) = (results * (index / across), results * (index % across));
                    let pixel = (image * self.height + row) * self.width + column;
                    Tile { pixel, row, column }
                }));
            }
        }
        // The last group repeats its last tile: the same code gives the same bits.
        tiles.resize(count.next_multiple_of(group), tiles[count - 1]);
        count
    }
}

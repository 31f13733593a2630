//! Results as others read them: tables, entries of leaderboards, curves and pictures.
//!
//! Renderers take plain data and compute nothing but places on the page. Begin with [`markdown`] (a table), [`entry`]
//! (RobustBench), then [`Plot`] and [`Grid`], which become a [`Drawing`]: a list of shapes that [`Drawing::to_svg`] and
//! [`Drawing::to_png`] put on paper alike. A [`page::Page`] is a whole document with [`chart`]s and tables, one HTML file.

pub mod chart;
pub mod diagnosis;
mod drawing;
pub mod entry;
mod glyphs;
mod grid;
pub mod markdown;
pub mod number;
pub mod page;
mod plot;
mod raster;
pub mod run;
pub mod sentence;
mod share_range;
mod svg;

pub use drawing::{Anchor, Color, Drawing, Shape, Tile};
pub use entry::{Entry, EntryError};
pub use grid::{Grid, GridRow};
pub use plot::{Place, Plot, Series};
pub use share_range::ShareRange;

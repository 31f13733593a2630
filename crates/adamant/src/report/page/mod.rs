//! A page as data: blocks in reading order, of text, figures, tables and pictures.
//!
//! [`Page::to_html`] gives one self-contained file: no script, no font, no request; light and dark by the reader's
//! preference; legible from 360 pixels on. Figures are [`Chart`]s and [`Rows`].

mod html;
mod table;

pub use table::{Cell, Column, Emphasis, Table};

use super::chart::{Chart, Rows};
use super::drawing::Tile;

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What kind of document, above the title.
    pub kicker: String,
    /// Its title.
    pub title: String,
    /// One or two sentences below the title.
    pub lede: Text,
    /// In reading order.
    pub blocks: Vec<Block>,
    /// Where it comes from, at its end: program, machine, data, commands.
    pub provenance: Vec<(String, Text)>,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Begins a part of the page.
    Heading(String),
    /// Begins a part of a part.
    Subheading(String),
    /// Running text.
    Paragraph(Text),
    /// The figures one came for, large.
    Headlines(Vec<Headline>),
    /// Something a reader should not miss.
    Note(Note),
    /// Names and what they are.
    Facts(Vec<(String, Text)>),
    /// Rows and columns; a wide one scrolls in its own box.
    Table(Table),
    /// Plots, side by side where there is room.
    Figures(Vec<Figure>),
    /// Pictures in rows.
    Pictures(Vec<PictureRow>),
    /// Lines to be copied.
    Code(String),
    /// Blocks behind a line that opens them.
    Folded {
        /// The line.
        summary: String,
        /// What it opens.
        blocks: Vec<Block>,
    },
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// Curves or dots over two axes.
    Chart(Chart),
    /// Values of named rows.
    Rows(Rows),
}

impl From<Chart> for Figure {
    fn from(chart: Chart) -> Self {
        Self::Chart(chart)
    }
}

impl From<Rows> for Figure {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows)
    }
}

/// A figure one came for.
#[derive(Clone, Debug, PartialEq)]
pub struct Headline {
    /// Such as `71.5 %`.
    pub value: String,
    /// What it is.
    pub label: String,
    /// Its interval, and of how many.
    pub detail: String,
}

/// Something a reader should not miss.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// How grave.
    pub tone: Tone,
    /// What it is.
    pub title: String,
    /// What was found, why it matters, what to do.
    pub text: Text,
}

/// How grave a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Worth knowing.
    Neutral,
    /// Figures may mislead.
    Warning,
    /// Figures mean nothing.
    Failure,
}

/// Pictures that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureRow {
    /// From left to right.
    pub pictures: Vec<Picture>,
}

/// A picture with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What is shown.
    pub tile: Tile,
    /// What stands above.
    pub head: String,
    /// What stands below.
    pub caption: Text,
}

/// Text with a few kinds of emphasis. A `&str` or `String` is plain text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub Vec<Span>);

/// A piece of text.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// As it is.
    Plain(String),
    /// Emphasised.
    Strong(String),
    /// Less important than the rest.
    Quiet(String),
    /// Names, commands, values as typed.
    Code(String),
    /// Leads to another file, by a relative path: pages ask nothing of the network.
    Link {
        /// What is read.
        text: String,
        /// Where it leads.
        target: String,
    },
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(vec![Span::Plain(text.to_string())])
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(vec![Span::Plain(text)])
    }
}

impl From<Span> for Text {
    fn from(span: Span) -> Self {
        Self(vec![span])
    }
}

impl Text {
    /// No text.
    pub fn new() -> Self {
        Self::default()
    }

    /// With more plain text.
    pub fn plain(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Plain(text.into()));
        self
    }

    /// With more emphasised text.
    pub fn strong(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Strong(text.into()));
        self
    }

    /// With more text of less importance.
    pub fn quiet(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Quiet(text.into()));
        self
    }

    /// With a name, a command or a value.
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Page {
    /// A page with nothing on it yet.
    pub fn new(kicker: &str, title: impl Into<String>, lede: impl Into<Text>) -> Self {
        let (kicker, title, lede) = (kicker.to_string(), title.into(), lede.into());
        Self { kicker, title, lede, blocks: Vec::new(), provenance: Vec::new() }
    }

    /// Begins a part.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    /// Begins a part of a part.
    pub fn subheading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Subheading(text.into()));
    }

    /// Running text.
    pub fn paragraph(&mut self, text: impl Into<Text>) {
        self.blocks.push(Block::Paragraph(text.into()));
    }

    /// The figures one came for; nothing if there are none.
    pub fn headlines(&mut self, headlines: Vec<Headline>) {
        self.push_unless(headlines.is_empty(), Block::Headlines(headlines));
    }

    /// Something a reader should not miss.
    pub fn note(&mut self, tone: Tone, title: impl Into<String>, text: impl Into<Text>) {
        self.blocks.push(Block::Note(Note { tone, title: title.into(), text: text.into() }));
    }

    /// Names and what they are; nothing if there are none.
    pub fn facts(&mut self, facts: Vec<(String, Text)>) {
        self.push_unless(facts.is_empty(), Block::Facts(facts));
    }

    /// Rows and columns; nothing if there are no rows.
    pub fn table(&mut self, table: Table) {
        self.push_unless(table.rows.is_empty(), Block::Table(table));
    }

    /// Plots, side by side where there is room; nothing if there are none.
    pub fn figures(&mut self, figures: Vec<Figure>) {
        self.push_unless(figures.is_empty(), Block::Figures(figures));
    }

    /// Pictures; nothing if there are none.
    pub fn pictures(&mut self, rows: Vec<PictureRow>) {
        self.push_unless(rows.is_empty(), Block::Pictures(rows));
    }

    /// Lines to be copied.
    pub fn code(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Code(text.into()));
    }

    /// Blocks behind a line that opens them.
    pub fn folded(&mut self, summary: impl Into<String>, blocks: Vec<Block>) {
        self.push_unless(blocks.is_empty(), Block::Folded { summary: summary.into(), blocks });
    }

    /// A line of its end: where it comes from.
    pub fn source(&mut self, what: &str, text: impl Into<Text>) {
        self.provenance.push((what.to_string(), text.into()));
    }

    fn push_unless(&mut self, is_empty: bool, block: Block) {
        if !is_empty {
            self.blocks.push(block);
        }
    }
}

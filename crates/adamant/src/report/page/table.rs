//! A table as data.

use super::Text;

/// Rows and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What is shown, and under which conditions; stands above.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its cells, row by row; each row as long as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words, to the left.
    Words(String),
    /// Numbers, to the right, their digits below each other.
    Numbers(String),
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: Text,
    /// What stands smaller behind it, such as an interval.
    pub detail: String,
    /// Whether it is the one to look at.
    pub emphasis: Emphasis,
}

/// How much a cell stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emphasis {
    /// Like the others.
    #[default]
    Usual,
    /// More than the others.
    Strong,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl From<Text> for Cell {
    fn from(text: Text) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Cell {
    /// With something smaller behind it.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The one to look at.
    pub fn strong(mut self) -> Self {
        self.emphasis = Emphasis::Strong;
        self
    }
}

impl Table {
    /// A table without rows: its caption and its columns.
    pub fn new(caption: impl Into<String>, columns: Vec<Column>) -> Self {
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }
}

impl Column {
    /// A column of words.
    pub fn words(head: impl Into<String>) -> Self {
        Self::Words(head.into())
    }

    /// A column of numbers.
    pub fn numbers(head: impl Into<String>) -> Self {
        Self::Numbers(head.into())
    }

    /// What stands above it.
    pub fn head(&self) -> &str {
        match self {
            Self::Words(head) | Self::Numbers(head) => head,
        }
    }
}

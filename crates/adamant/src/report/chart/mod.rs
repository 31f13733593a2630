//! Plots as data: curves and dots over two axes ([`Chart`]), values of named rows ([`Rows`]).
//!
//! Drawn as SVG whose colours are the page's, so that one drawing serves light and dark. A wide plot is drawn twice, for
//! broad and for narrow screens, since letters must not shrink with it.

mod draw;
mod key;
mod rows;
mod scale;
pub(super) use scale::step as round_step;

pub use rows::{Name, Row, Rows};

/// Curves or dots over two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows, as a short sentence or phrase.
    pub title: String,
    /// Conditions: attack, images, intervals, seeds.
    pub note: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Drawn in this order.
    pub curves: Vec<Curve>,
    /// Lines that say where something lies.
    pub guides: Vec<Guide>,
    /// How much room it takes.
    pub size: Size,
}

/// How much room a plot takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// One of two or three side by side.
    #[default]
    Column,
    /// The whole breadth of the page.
    Wide,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it counts.
    pub label: String,
    /// How values become places.
    pub scale: Scale,
    /// How values are written.
    pub unit: Unit,
    /// Its ends; the data's where nothing is said.
    pub range: Option<[f64; 2]>,
    /// Named values by rising value; chosen where there are none.
    pub ticks: Vec<(f64, String)>,
}

/// How values become places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps for equal differences.
    #[default]
    Linear,
    /// Equal steps for equal ratios; values that are not above 0 have no place.
    Logarithmic,
}

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// As numbers.
    #[default]
    Number,
    /// Shares, as percentages.
    Percent,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it is of; nothing is written for an empty name.
    pub name: String,
    /// Its colour.
    pub hue: Hue,
    /// How its points are drawn.
    pub mark: Mark,
    /// In the order they are joined.
    pub points: Vec<Point>,
}

/// A point of a curve. What is not finite has no place, and a line breaks there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// On the horizontal axis.
    pub x: f64,
    /// On the vertical axis.
    pub y: f64,
    /// Its ends on the vertical axis: a band around lines, a whisker through dots.
    pub interval: Option<[f64; 2]>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Joined.
    Line,
    /// Joined by a thin faint line, for what lies behind another curve.
    Faint,
    /// Joined by dashes.
    Dashed,
    /// Each a dot.
    Dots,
    /// Joined, each a dot.
    LineAndDots,
}

/// A colour of the page, in its light or dark form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// Clean images and their branch: blue.
    Clean,
    /// Adversarial images and their branch: red.
    Adversarial,
    /// Noise and other controls: grey.
    Control,
    /// As text.
    Ink,
    /// One of several alike, from 0.
    Series(usize),
}

/// A line that says where something lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Guide {
    /// At a height.
    Level(f64, String),
    /// At a place of the horizontal axis.
    Upright(f64, String),
    /// Where both axes have the same value.
    Equal(String),
}

impl Axis {
    /// Of numbers.
    pub fn numbers(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// Of shares between 0 and 1, all of it shown, written in percent.
    pub fn shares(label: impl Into<String>) -> Self {
        let range = Some([0.0, 1.0]);
        Self { label: label.into(), unit: Unit::Percent, range, ..Self::default() }
    }

    /// Of shares, from about the least to about the greatest there is, written in percent: for small differences.
    pub fn near_shares(label: impl Into<String>) -> Self {
        Self { label: label.into(), unit: Unit::Percent, ..Self::default() }
    }

    /// With equal steps for equal ratios.
    pub fn logarithmic(mut self) -> Self {
        self.scale = Scale::Logarithmic;
        self
    }

    /// From here to there.
    pub fn from_to(mut self, low: f64, high: f64) -> Self {
        self.range = Some([low, high]);
        self
    }

    /// With these values named.
    pub fn named(mut self, ticks: Vec<(f64, String)>) -> Self {
        self.ticks = ticks;
        self
    }
}

impl Point {
    /// A point without an interval.
    pub fn at(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }

    /// With the ends of its interval.
    pub fn within(mut self, interval: [f64; 2]) -> Self {
        self.interval = Some(interval);
        self
    }
}

impl Curve {
    /// Points under a name.
    pub fn new(name: impl Into<String>, hue: Hue, mark: Mark, points: Vec<Point>) -> Self {
        Self { name: name.into(), hue, mark, points }
    }
}

impl Chart {
    /// A chart without curves, one column broad.
    pub fn new(title: impl Into<String>, note: impl Into<String>, x: Axis, y: Axis) -> Self {
        let (title, note, size) = (title.into(), note.into(), Size::Column);
        Self { title, note, x, y, curves: Vec::new(), guides: Vec::new(), size }
    }

    /// With one more curve.
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curves.push(curve);
        self
    }

    /// With one more guide.
    pub fn guide(mut self, guide: Guide) -> Self {
        self.guides.push(guide);
        self
    }

    /// Over the whole breadth of the page.
    pub fn wide(mut self) -> Self {
        self.size = Size::Wide;
        self
    }
}

impl Hue {
    /// The letter of its classes in the style sheet: `s0` strokes, `f0` fills.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Clean => '0',
            Self::Adversarial => '1',
            Self::Control => '7',
            Self::Ink => 'k',
            // All but grey, which means a control.
            Self::Series(number) => char::from(b'0' + (number % 7) as u8),
        }
    }
}

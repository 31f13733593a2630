//! A picture as data: a list of shapes on a page, drawn in order.

/// Opaque red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// Text and axes.
    pub const INK: Self = Self([34, 34, 34]);
    /// Lines that only guide the eye.
    pub const GUIDE: Self = Self([221, 221, 221]);
    /// The page.
    pub const PAPER: Self = Self([255, 255, 255]);
    /// Series, told apart also by who does not see all colours. Source: Okabe & Ito 2008.
    pub const SERIES: [Self; 7] = [
        Self([0, 114, 178]),
        Self([213, 94, 0]),
        Self([0, 158, 115]),
        Self([204, 121, 167]),
        Self([230, 159, 0]),
        Self([86, 180, 233]),
        Self([0, 0, 0]),
    ];

    /// The colour mixed with the page: 0 is the page, 1 the colour.
    pub fn faded(self, share: f32) -> Self {
        let mix = |c: u8| (255.0 + (f32::from(c) - 255.0) * share).round() as u8;
        Self(self.0.map(mix))
    }
}

/// Which point of a text its place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// Pixels to be shown, each as a square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row.
    pub pixels: Vec<Color>,
}

/// Something on the page. Units: points of the page, from its upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Joined points.
    Line {
        /// In order.
        points: Vec<(f32, f32)>,
        /// Of the line.
        color: Color,
        /// Of the line.
        width: f32,
    },
    /// A filled area.
    Area {
        /// Its corners.
        points: Vec<(f32, f32)>,
        /// Of its inside.
        color: Color,
    },
    /// A filled circle.
    Dot {
        /// Its middle.
        at: (f32, f32),
        /// Its radius.
        radius: f32,
        /// Of its inside.
        color: Color,
    },
    /// A line of text, of letters 8 points wide and high.
    Text {
        /// Where its anchor lies, on the line it is written on.
        at: (f32, f32),
        /// What it says.
        text: String,
        /// Which point of it.
        anchor: Anchor,
        /// Of the letters.
        color: Color,
    },
    /// An image, each pixel a square of `scale` points.
    Image {
        /// Its upper left corner.
        at: (f32, f32),
        /// Points per pixel.
        scale: usize,
        /// What it shows.
        tile: Tile,
    },
}

/// Shapes on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Points.
    pub width: usize,
    /// Points.
    pub height: usize,
    /// In the order they are drawn.
    pub shapes: Vec<Shape>,
}

/// Width of a letter, in points.
pub(super) const LETTER: f32 = 8.0;

impl Drawing {
    /// An empty page.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    /// Writes a line of text.
    pub fn text(&mut self, at: (f32, f32), anchor: Anchor, text: impl Into<String>) {
        let color = Color::INK;
        self.shapes.push(Shape::Text { at, text: text.into(), anchor, color });
    }

    /// Draws a line from point to point.
    pub fn line(&mut self, points: Vec<(f32, f32)>, color: Color, width: f32) {
        self.shapes.push(Shape::Line { points, color, width });
    }
}

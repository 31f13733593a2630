//! Accuracies as curves with their intervals.

use super::drawing::{Anchor, Color, Drawing, LETTER, Shape};
use super::share_range::ShareRange;

/// A place named on the horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where, in units of the axis.
    pub x: f64,
    /// What stands there.
    pub label: String,
}

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// By rising x: x, the share, and the two ends of its interval.
    pub points: Vec<(f64, f64, [f64; 2])>,
}

/// Shares between 0 and 1 over something.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What is shown, and under which protocol, with how many images.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What is named on it, by rising x.
    pub places: Vec<Place>,
    /// What of the upright axis is shown.
    pub range: ShareRange,
    /// The curves.
    pub series: Vec<Series>,
}

const WIDTH: f32 = 640.0;
const LEFT: f32 = 56.0;
const RIGHT: f32 = 24.0;
const TOP: f32 = 40.0;
const HEIGHT: f32 = 280.0;
const LINE: f32 = 16.0;

impl Plot {
    /// The plot on a page: bands for the intervals, lines, dots, a legend below.
    pub fn draw(&self) -> Drawing {
        let below = TOP + HEIGHT + 3.5 * LINE;
        let height = below + LINE * self.series.len() as f32 + 8.0;
        let mut page = Drawing::new(WIDTH as usize, height.ceil() as usize);
        page.text((LEFT, 20.0), Anchor::Start, self.title.clone());
        self.axes(&mut page);
        for (series, color) in self.series.iter().zip(Color::SERIES.into_iter().cycle()) {
            let upper = series.points.iter().map(|&(x, _, [_, high])| self.at(x, high));
            let lower = series.points.iter().rev().map(|&(x, _, [low, _])| self.at(x, low));
            let points = upper.chain(lower).collect();
            page.shapes.push(Shape::Area { points, color: color.faded(0.2) });
        }
        for (row, (series, color)) in
            self.series.iter().zip(Color::SERIES.into_iter().cycle()).enumerate()
        {
            let points: Vec<_> = series.points.iter().map(|&(x, y, _)| self.at(x, y)).collect();
            for &at in &points {
                page.shapes.push(Shape::Dot { at, radius: 3.0, color });
            }
            page.line(points, color, 2.0);
            let y = below + LINE * row as f32;
            page.line(vec![(LEFT, y - 3.0), (LEFT + 24.0, y - 3.0)], color, 2.0);
            page.text((LEFT + 32.0, y), Anchor::Start, series.name.clone());
        }
        page
    }

    fn axes(&self, page: &mut Drawing) {
        for (share, text) in self.range.ticks() {
            let (_, y) = self.at(self.first(), share);
            page.line(vec![(LEFT, y), (WIDTH - RIGHT, y)], Color::GUIDE, 1.0);
            page.text((LEFT - 8.0, y + 3.0), Anchor::End, text);
        }
        let mut free = f32::MIN;
        for place in &self.places {
            let (x, y) = (self.at(place.x, 0.0).0, TOP + HEIGHT);
            page.line(vec![(x, y), (x, y + 4.0)], Color::INK, 1.0);
            // A label that would run into the one before it is left out; its tick stays.
            let half = 0.5 * LETTER * place.label.chars().count() as f32;
            if x - half > free {
                page.text((x, y + LINE), Anchor::Middle, place.label.clone());
                free = x + half + 0.5 * LETTER;
            }
        }
        let middle = LEFT + 0.5 * (WIDTH - RIGHT - LEFT);
        page.text((middle, TOP + HEIGHT + 2.25 * LINE), Anchor::Middle, self.x_label.clone());
        let bottom = TOP + HEIGHT;
        page.line(vec![(LEFT, bottom), (WIDTH - RIGHT, bottom)], Color::INK, 1.0);
    }

    fn first(&self) -> f64 {
        self.places.first().map_or(0.0, |place| place.x)
    }

    fn at(&self, x: f64, share: f64) -> (f32, f32) {
        let last = self.places.last().map_or(1.0, |place| place.x);
        let span = (last - self.first()).max(f64::MIN_POSITIVE);
        let along = ((x - self.first()) / span) as f32;
        (LEFT + along * (WIDTH - RIGHT - LEFT), TOP + HEIGHT * (1.0 - self.range.along(share)))
    }
}

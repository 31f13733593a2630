//! Values of named rows: dots on a line each, with their intervals.

use super::draw::{BROAD, COLUMN, caption, label};
use super::key::{LINE, breadth};
use super::scale::{Laid, ends, rounded, ticks};
use super::{Axis, Hue, Scale, Size};
use crate::report::number::{percent, significant};
use crate::report::svg::escaped;

/// Several values of each of several rows, such as clean and robust accuracy by class.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// What is shown.
    pub title: String,
    /// Conditions: attack, images, intervals, seeds.
    pub note: String,
    /// From left to right.
    pub axis: Axis,
    /// What the values of each row are.
    pub names: Vec<Name>,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// How much room it takes.
    pub size: Size,
}

/// What one value of every row is.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// In words.
    pub text: String,
    /// The colour of its dots.
    pub hue: Hue,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is of.
    pub label: String,
    /// As many as there are names: a value and, where it is known, its interval; none where there is no value.
    pub values: Vec<Option<(f64, Option<[f64; 2]>)>>,
}

const ROW: f32 = 21.0;

impl Rows {
    /// Without rows, one column broad.
    pub fn new(
        title: impl Into<String>,
        note: impl Into<String>,
        axis: Axis,
        names: Vec<Name>,
    ) -> Self {
        let (title, note) = (title.into(), note.into());
        Self { title, note, axis, names, rows: Vec::new(), size: Size::Column }
    }

    /// The figure with its caption, for a page.
    pub(in crate::report) fn to_html(&self) -> String {
        let (class, drawings) = match self.size {
            Size::Column => ("", self.svg(COLUMN, "")),
            Size::Wide => {
                let broad = self.svg(BROAD, " class=\"broad\"");
                (" class=\"wide\"", broad + &self.svg(COLUMN, " class=\"narrow\""))
            }
        };
        format!("<figure{class}>\n{}{drawings}</figure>\n", caption(&self.title, &self.note))
    }

    fn svg(&self, width: f32, class: &str) -> String {
        let values = || self.rows.iter().flat_map(|row| row.values.iter().flatten());
        let all = values().flat_map(|(value, interval)| {
            let [low, high] = interval.unwrap_or([*value; 2]);
            [*value, low, high]
        });
        let extent = all
            .filter(|v| v.is_finite() && (self.axis.scale == Scale::Linear || *v > 0.0))
            .fold(None, |ends: Option<[f64; 2]>, v| {
                let [low, high] = ends.unwrap_or([v, v]);
                Some([low.min(v), high.max(v)])
            });
        let span = rounded(&self.axis, ends(&self.axis, extent), 4);
        let longest = self.rows.iter().map(|row| breadth(&row.label)).fold(0.0, f32::max);
        let left = (longest + 12.0).min(0.45 * width);
        let right = width - 14.0;
        let mut svg = String::new();
        let (mut x, mut line) = (0.0, 0);
        for Name { text, hue } in &self.names {
            let needed = 15.0 + breadth(text);
            if x > 0.0 && x + needed > width {
                (x, line) = (0.0, line + 1);
            }
            let (y, letter) = (9.0 + LINE * line as f32, hue.letter());
            let (cx, cy) = (x + 4.0, y - 3.5);
            svg +=
                &format!("<circle class=\"f{letter}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\"/>");
            svg += &label(x + 12.0, y, "start", &format!("name f{letter}"), text);
            x += needed + 12.0;
        }
        let top = LINE * (line as f32 + 1.0) + 8.0;
        let bottom = top + ROW * self.rows.len() as f32;
        let along = Laid::new(self.axis.scale, span, [left, right]);
        for (value, text) in ticks(&self.axis, span, ((right - left) / 60.0) as usize) {
            let Some(at) = along.at(value) else { continue };
            svg += &format!("<path class=\"grid\" d=\"M{at:.1},{top:.1}V{bottom:.1}\"/>");
            svg += &label(at, bottom + LINE, "middle", "axis", &text);
        }
        for (place, row) in self.rows.iter().enumerate() {
            self.row(&mut svg, row, top + ROW * (place as f32 + 0.5), left, &along);
        }
        let mut height = bottom + 1.5 * LINE;
        if !self.axis.label.is_empty() {
            let middle = 0.5 * (left + right);
            svg += &label(middle, bottom + 2.1 * LINE, "middle", "axis", &self.axis.label);
            height += LINE;
        }
        format!(
            "<svg{class} viewBox=\"0 0 {width} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{svg}</svg>\n",
            escaped(&self.title)
        )
    }

    fn row(&self, svg: &mut String, row: &Row, y: f32, left: f32, along: &Laid) {
        // As much of the name as there is room for.
        let room = ((left - 12.0) / breadth("n")) as usize;
        let name = match row.label.chars().count() > room + 1 {
            true => row.label.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
            false => row.label.clone(),
        };
        *svg += &label(left - 10.0, y + 3.5, "end", "", &name);
        let places: Vec<f32> =
            row.values.iter().flatten().filter_map(|(value, _)| along.within(*value)).collect();
        let ends = places.iter().fold(None, |ends: Option<(f32, f32)>, &x| {
            Some(ends.map_or((x, x), |(low, high)| (low.min(x), high.max(x))))
        });
        if let Some((low, high)) = ends.filter(|(low, high)| low < high) {
            *svg += &format!("<path class=\"grid\" d=\"M{low:.1},{y:.1}H{high:.1}\"/>");
        }
        for (Name { text, hue }, value) in self.names.iter().zip(&row.values) {
            let Some((value, interval)) = value else { continue };
            let Some(x) = along.within(*value) else { continue };
            let letter = hue.letter();
            if let Some([Some(low), Some(high)]) =
                interval.map(|ends| ends.map(|end| along.within(end)))
            {
                *svg += &format!(
                    "<path class=\"whisker s{letter}\" d=\"M{low:.1},{y:.1}H{high:.1}\"/>"
                );
            }
            let told = match self.axis.unit {
                super::Unit::Percent => percent(*value),
                super::Unit::Number => significant(*value),
            };
            let told = escaped(&format!("{}, {text}: {told}", row.label));
            *svg += &format!(
                "<circle class=\"f{letter}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{told}</title></circle>"
            );
        }
        svg.push('\n');
    }
}

//! A chart as SVG.

use super::key::{Key, LINE, breadth, spread};
use super::scale::{Laid, ends, rounded, ticks};
use super::{Axis, Chart, Curve, Guide, Mark, Point, Size};
use crate::report::number::significant;
use crate::report::svg::escaped;

/// Of a plot of one column, in the units its letters are measured in.
pub(super) const COLUMN: f32 = 360.0;
/// Of a plot over the whole page.
pub(super) const BROAD: f32 = 1000.0;
/// Points up to which each dot tells its values when it is pointed at.
const TELLING: usize = 80;

/// The ends of all values of one axis.
fn extent(values: impl Iterator<Item = f64>, axis: &Axis) -> Option<[f64; 2]> {
    let has_place = |v: &f64| v.is_finite() && (axis.scale == super::Scale::Linear || *v > 0.0);
    values.filter(has_place).fold(None, |ends, v| match ends {
        None => Some([v, v]),
        Some([low, high]) => Some([v.min(low), v.max(high)]),
    })
}

impl Chart {
    /// The figure with its caption, for a page.
    pub(in crate::report) fn to_html(&self) -> String {
        let (class, drawings) = match self.size {
            Size::Column => ("", self.svg(COLUMN, 190.0, "")),
            Size::Wide => {
                let broad = self.svg(BROAD, 300.0, " class=\"broad\"");
                (" class=\"wide\"", broad + &self.svg(COLUMN, 220.0, " class=\"narrow\""))
            }
        };
        format!("<figure{class}>\n{}{drawings}</figure>\n", caption(&self.title, &self.note))
    }

    fn svg(&self, width: f32, tall: f32, class: &str) -> String {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let levels = self.guides.iter().filter_map(|guide| match guide {
            Guide::Level(value, _) => Some(*value),
            _ => None,
        });
        let xs = extent(points().map(|point| point.x), &self.x);
        let intervals = points().flat_map(|point| point.interval.unwrap_or([point.y; 2]));
        let ys = extent(points().map(|point| point.y).chain(intervals).chain(levels), &self.y);
        let xs = ends(&self.x, xs);
        let ys = rounded(&self.y, ends(&self.y, ys), 5);
        let key = Key::of(self, width);
        let y_ticks = ticks(&self.y, ys, 5);
        let left = y_ticks.iter().map(|(_, text)| breadth(text)).fold(0.0, f32::max) + 8.0;
        let right = if let Key::Ends(room) = key { room } else { 8.0 };
        let top = 8.0 + LINE * (key.lines() as f32 + f32::from(u8::from(!self.y.label.is_empty())));
        let plot = Plot {
            x: Laid::new(self.x.scale, xs, [left, width - right]),
            y: Laid::new(self.y.scale, ys, [top + tall, top]),
            left,
            right: width - right,
            top,
            bottom: top + tall,
        };
        let below = if self.x.label.is_empty() { 1.4 } else { 2.5 };
        let height = plot.bottom + LINE * below;
        let mut svg = format!(
            "<svg{class} viewBox=\"0 0 {width} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
            escaped(&self.title)
        );
        self.axes(&mut svg, &plot, &y_ticks, &ticks(&self.x, xs, (width / 75.0) as usize));
        self.guides.iter().for_each(|guide| plot.guide(&mut svg, guide));
        self.curves.iter().for_each(|curve| plot.curve(&mut svg, curve));
        self.names(&mut svg, &plot, &key);
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String, plot: &Plot, y: &[(f64, String)], x: &[(f64, String)]) {
        let Plot { left, right, bottom, top, .. } = *plot;
        if !self.y.label.is_empty() {
            let above = top - 11.0;
            *svg += &label(0.0, above, "start", "axis", &self.y.label);
        }
        for (value, text) in y {
            let Some(at) = plot.y.at(*value) else { continue };
            *svg += &format!("<path class=\"grid\" d=\"M{left:.1},{at:.1}H{right:.1}\"/>");
            *svg += &label(left - 6.0, at + 3.5, "end", "axis", text);
        }
        *svg += &format!("<path class=\"base\" d=\"M{left:.1},{bottom:.1}H{right:.1}\"/>\n");
        let mut free = f32::MIN;
        for (value, text) in x {
            let Some(at) = plot.x.at(*value) else { continue };
            *svg += &format!("<path class=\"base\" d=\"M{at:.1},{bottom:.1}v4\"/>");
            // A label that would run into the one before it is left out; its tick stays.
            let half = 0.5 * breadth(text);
            if at - half > free {
                *svg += &label(at, bottom + LINE, "middle", "axis", text);
                free = at + half + 5.0;
            }
        }
        if !self.x.label.is_empty() {
            let middle = 0.5 * (left + right);
            *svg += &label(middle, bottom + 2.1 * LINE, "middle", "axis", &self.x.label);
        }
        svg.push('\n');
    }

    fn names(&self, svg: &mut String, plot: &Plot, key: &Key) {
        match key {
            Key::Ends(_) => {
                let end = |(place, curve): (usize, &Curve)| {
                    let last = curve.points.iter().rev().find_map(|p| plot.y.within(p.y));
                    last.filter(|_| !curve.name.is_empty()).map(|height| (place, height + 3.5))
                };
                let mut heights: Vec<_> = self.curves.iter().enumerate().filter_map(end).collect();
                spread(&mut heights, 13.0, plot.top + 3.5, plot.bottom + 3.5);
                for (place, height) in heights {
                    let Curve { name, hue, .. } = &self.curves[place];
                    let class = format!("name f{}", hue.letter());
                    *svg += &label(plot.right + 6.0, height, "start", &class, name);
                }
            }
            Key::Above(placed) => {
                for &(place, x, line) in placed {
                    let Curve { name, hue, mark, .. } = &self.curves[place];
                    let (letter, y) = (hue.letter(), 8.0 + LINE * line as f32);
                    *svg += &match mark {
                        Mark::Dots => format!(
                            "<circle class=\"f{letter}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                            x + 6.0,
                            y - 3.5
                        ),
                        mark => format!(
                            "<path class=\"{} s{letter}\" d=\"M{x:.1},{:.1}h12\"/>",
                            line_class(*mark),
                            y - 3.5
                        ),
                    };
                    let class = format!("name f{letter}");
                    *svg += &label(x + 17.0, y, "start", &class, name);
                }
            }
        }
        svg.push('\n');
    }
}

/// Where things lie in one drawing.
struct Plot {
    x: Laid,
    y: Laid,
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
}

impl Plot {
    fn place(&self, point: &Point) -> Option<(f32, f32)> {
        Some((self.x.at(point.x)?, self.y.within(point.y)?))
    }

    fn guide(&self, svg: &mut String, guide: &Guide) {
        let Self { left, right, top, bottom, .. } = *self;
        let (path, text, at, anchor) = match guide {
            Guide::Level(value, text) => {
                let Some(y) = self.y.within(*value) else { return };
                (format!("M{left:.1},{y:.1}H{right:.1}"), text, (left + 4.0, y - 4.0), "start")
            }
            Guide::Upright(value, text) => {
                let Some(x) = self.x.within(*value) else { return };
                // On the side where there is more room.
                let (shift, anchor) =
                    if x < 0.5 * (left + right) { (4.0, "start") } else { (-4.0, "end") };
                (format!("M{x:.1},{top:.1}V{bottom:.1}"), text, (x + shift, top + 9.0), anchor)
            }
            Guide::Equal(text) => {
                let both = |value: f64| Some((self.x.at(value)?, self.y.at(value)?));
                let (low, high) = (
                    self.x.ends()[0].max(self.y.ends()[0]),
                    self.x.ends()[1].min(self.y.ends()[1]),
                );
                let (Some((x1, y1)), Some((x2, y2))) = (both(low), both(high)) else { return };
                let path = format!("M{x1:.1},{y1:.1}L{x2:.1},{y2:.1}");
                (path, text, (x2 - 6.0, y2 + 4.0), "end")
            }
        };
        *svg += &format!("<path class=\"guide\" d=\"{path}\"/>");
        *svg += &label(at.0, at.1, anchor, "axis", text);
        svg.push('\n');
    }

    fn curve(&self, svg: &mut String, curve: &Curve) {
        let letter = curve.hue.letter();
        if curve.mark == Mark::Dots {
            for point in &curve.points {
                let (Some((x, _)), Some([low, high])) = (self.place(point), point.interval) else {
                    continue;
                };
                if let (Some(low), Some(high)) = (self.y.within(low), self.y.within(high)) {
                    *svg += &format!(
                        "<path class=\"whisker s{letter}\" d=\"M{x:.1},{low:.1}V{high:.1}\"/>"
                    );
                }
            }
        } else {
            self.band(svg, curve);
            self.line(svg, curve);
        }
        if matches!(curve.mark, Mark::Dots | Mark::LineAndDots) {
            self.dots(svg, curve);
        }
        svg.push('\n');
    }

    fn band(&self, svg: &mut String, curve: &Curve) {
        let end = |place: usize| {
            move |point: &Point| {
                let y = self.y.within(point.interval?[place])?;
                Some(format!("{:.1},{y:.1}", self.x.at(point.x)?))
            }
        };
        let upper: Vec<String> = curve.points.iter().filter_map(end(1)).collect();
        let lower: Vec<String> = curve.points.iter().rev().filter_map(end(0)).collect();
        if upper.len() > 1 {
            let (letter, ring) = (curve.hue.letter(), [upper, lower].concat().join(" "));
            *svg += &format!("<polygon class=\"band f{letter}\" points=\"{ring}\"/>");
        }
    }

    fn line(&self, svg: &mut String, curve: &Curve) {
        let mut path = String::new();
        let mut is_joined = false;
        for point in &curve.points {
            let Some((x, y)) = self.place(point) else {
                is_joined = false;
                continue;
            };
            path += &format!("{}{x:.1},{y:.1}", if is_joined { 'L' } else { 'M' });
            is_joined = true;
        }
        let (class, letter) = (line_class(curve.mark), curve.hue.letter());
        *svg += &format!("<path class=\"{class} s{letter}\" d=\"{path}\"/>");
    }

    /// Few dots tell their values; of many each is a stroke without length, which takes few letters.
    fn dots(&self, svg: &mut String, curve: &Curve) {
        let letter = curve.hue.letter();
        let places = curve.points.iter().filter_map(|p| Some((p, self.place(p)?)));
        if curve.points.len() > TELLING {
            let path: String = places.map(|(_, (x, y))| format!("M{x:.1},{y:.1}h0")).collect();
            *svg += &format!(
                "<path class=\"many s{letter}\" stroke-width=\"4\" stroke-linecap=\"round\" d=\"{path}\"/>"
            );
            return;
        }
        for (point, (x, y)) in places {
            let told = escaped(&format!(
                "{} {}: {}",
                curve.name,
                significant(point.x),
                significant(point.y)
            ));
            *svg += &format!(
                "<circle class=\"f{letter}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{told}</title></circle>"
            );
        }
    }
}

fn line_class(mark: Mark) -> &'static str {
    match mark {
        Mark::Faint => "line faint",
        Mark::Dashed => "line dashed",
        Mark::Line | Mark::Dots | Mark::LineAndDots => "line",
    }
}

pub(super) fn label(x: f32, y: f32, anchor: &str, class: &str, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
        escaped(text)
    )
}

pub(super) fn caption(title: &str, note: &str) -> String {
    format!("<figcaption><b>{}</b>{}</figcaption>\n", escaped(title), escaped(note))
}

//! The page of a diagnosis: the paper's analysis figures.

use super::chart::{Axis, Chart, Curve, Guide, Hue, Mark, Point};
use super::number::{percent, significant, thousands};
use super::page::{Cell, Column, Figure, Page, Table};
use crate::diagnose::distance::quantile;
use crate::diagnose::{Diagnosis, Distance, LayerSeen};

/// The page of what was found.
pub fn page(found: &Diagnosis) -> Page {
    let lede = format!(
        "{} on {} images of {}: what its batch norms hold and see, how gradients and the loss under {} behave.",
        found.model,
        thousands(found.samples as u64),
        found.data,
        found.attack
    );
    let mut page = Page::new("Adamant, a diagnosis", "Two domains, layer by layer", lede);
    distances(&mut page, found);
    running(&mut page, found);
    page.heading("Gradients and the loss under attack");
    page.figures(vec![climb(found).into(), gradients(found).into()]);
    let [attack, noise] = found.change.map(significant);
    page.source("Attack", format!("{}, {}, seed {}", found.attack, found.threat, found.seed));
    page.source("Change", format!("mean Euclidean length {attack}, of the noise {noise}"));
    page.source("Mini-batches", format!("of {} images", found.batch_size));
    page
}

/// Median over channels, with the middle half of them as a band, against depth.
fn by_depth<'a>(
    name: &str,
    hue: Hue,
    layers: impl Iterator<Item = &'a Vec<Distance>>,
    of: &dyn Fn(&Distance) -> f64,
) -> Curve {
    let points = layers.enumerate().map(|(place, channels)| {
        let values: Vec<f64> = channels.iter().map(of).collect();
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&values, share));
        Point::at(place as f64 + 1.0, middle).within([low, high])
    });
    Curve::new(name, hue, Mark::LineAndDots, points.collect())
}

fn distances(page: &mut Page, found: &Diagnosis) {
    if found.seen.is_empty() {
        return page
            .paragraph("The network has no batch norm: there are no statistics to compare.");
    }
    page.heading("How far apart the domains lie");
    page.paragraph(
        "Divergence is Jeffreys', KL(p, q) + KL(q, p), of two normal distributions with a channel's mean and variance; \
         shift is the difference of means in pooled standard deviations. Noise has each image's own change, with its \
         pixels shuffled and its signs drawn anew, clipped to the pixel range. Attack and noise are seen by one branch, each \
         batch normalised by itself; running statistics are of two branches that may also differ in gamma and beta.",
    );
    let chart = |title: &str, of: &dyn Fn(&Distance) -> f64| {
        let note = "median over channels, the band is their middle half";
        let mut chart =
            Chart::new(title, note, Axis::numbers("batch norm, by depth"), Axis::numbers(""));
        if found.stored.iter().all(|layer| !layer.distances.is_empty()) {
            let stored = found.stored.iter().map(|layer| &layer.distances);
            chart.curves.push(by_depth("running", Hue::Ink, stored, of));
        }
        let seen = |of: fn(&LayerSeen) -> &Vec<Distance>| found.seen.iter().map(of);
        let adversarial = seen(|layer| &layer.adversarial);
        chart.curves.push(by_depth("attack", Hue::Adversarial, adversarial, of));
        chart.curves.push(by_depth("noise", Hue::Control, seen(|layer| &layer.noisy), of));
        chart
    };
    let figures =
        [chart("Divergence", &|d| d.divergence), chart("Shift of the mean", &|d| d.shift)];
    page.figures(figures.into_iter().map(Figure::from).collect());
    page.figures(branches(found));
}

/// Every channel of all layers: clean branch against adversarial branch (A3).
fn branches(found: &Diagnosis) -> Vec<Figure> {
    let pairs = |of: &dyn Fn(&crate::diagnose::Branch, usize) -> f64| -> Vec<Point> {
        let two = found.stored.iter().filter(|layer| layer.branches.len() > 1);
        two.flat_map(|layer| {
            let (clean, adversarial) = (&layer.branches[0], &layer.branches[1]);
            (0..clean.scale.len())
                .map(|channel| Point::at(of(clean, channel), of(adversarial, channel)))
                .collect::<Vec<_>>()
        })
        .collect()
    };
    let chart = |title: &str, points: Vec<Point>, is_ratio: bool| {
        let axis = |label: &str| match is_ratio {
            true => Axis::numbers(label).logarithmic(),
            false => Axis::numbers(label),
        };
        let note = "each channel of every layer";
        let chart = Chart::new(title, note, axis("clean branch"), axis("adversarial branch"));
        let chart = chart.curve(Curve::new("", Hue::Series(3), Mark::Dots, points));
        chart.guide(Guide::Equal("equal".into()))
    };
    let charts = [
        chart("Running mean", pairs(&|b, c| b.running[c].mean), false),
        chart("Running variance", pairs(&|b, c| b.running[c].variance), true),
        chart("Factor, gamma", pairs(&|b, c| b.scale[c]), false),
        chart("Summand, beta", pairs(&|b, c| b.shift[c]), false),
    ];
    let drawn = charts.into_iter().filter(|chart| !chart.curves[0].points.is_empty());
    drawn.map(Figure::from).collect()
}

/// Batch statistics beside running ones (A4).
fn running(page: &mut Page, found: &Diagnosis) {
    if found.seen.is_empty() {
        return;
    }
    page.heading("Batch against running statistics");
    let columns =
        ["channels", "mean outside", "variance outside", "batch to running variance, median"];
    let mut columns: Vec<Column> = columns.into_iter().map(Column::numbers).collect();
    columns.insert(0, Column::words("batch norm"));
    let caption = "Outside: channels whose running value lies outside the 95 % sampling interval of the mean over \
                   mini-batches; by chance 5 % would.";
    let mut table = Table::new(caption, columns);
    let mut points = Vec::new();
    for layer in &found.seen {
        let channels = &layer.channels;
        let share = |is: &dyn Fn(usize) -> bool| {
            let count = (0..channels.len()).filter(|&channel| is(channel)).count();
            Cell::from(percent(count as f64 / channels.len() as f64))
        };
        let ratios: Vec<f64> =
            channels.iter().map(|c| c.batch.variance / c.running.variance).collect();
        table.row(vec![
            layer.layer.clone().into(),
            thousands(channels.len() as u64).into(),
            share(&|channel| channels[channel].mean_is_outside()),
            share(&|channel| channels[channel].variance_is_outside()),
            significant(quantile(&ratios, 0.5)).into(),
        ]);
        points.extend(channels.iter().map(|c| Point::at(c.running.variance, c.batch.variance)));
    }
    let axis = |label: &str| Axis::numbers(label).logarithmic();
    let note = "each channel of every layer, mean over mini-batches";
    let chart = Chart::new("Variance", note, axis("running"), axis("of mini-batches"));
    let chart = chart.curve(Curve::new("", Hue::Series(5), Mark::Dots, points));
    page.figures(vec![chart.guide(Guide::Equal("equal".into())).into()]);
    page.table(table);
}

fn climb(found: &Diagnosis) -> Chart {
    let points = |of: &dyn Fn(usize) -> f64| -> Vec<Point> {
        (0..found.climb.len())
            .map(|place| Point::at(found.climb[place].steps as f64, of(place)))
            .collect()
    };
    let note = format!("{}, {} images; the band holds 90 % of them", found.attack, found.samples);
    let mut chart = Chart::new(
        "Cross-entropy along the attack",
        note,
        Axis::numbers("steps"),
        Axis::numbers(""),
    );
    let mut median = points(&|n| found.climb[n].quantiles[2]);
    for (point, climb) in median.iter_mut().zip(&found.climb) {
        point.interval = Some([climb.quantiles[0], climb.quantiles[4]]);
    }
    chart.curves.push(Curve::new("median", Hue::Adversarial, Mark::Line, median));
    chart.curves.push(Curve::new("mean", Hue::Ink, Mark::Line, points(&|n| found.climb[n].mean)));
    chart
}

fn gradients(found: &Diagnosis) -> Chart {
    let points = |of: &dyn Fn(usize) -> f64| -> Vec<Point> {
        (0..found.gradients.len()).map(|place| Point::at(place as f64 + 1.0, of(place))).collect()
    };
    let (title, note) = (
        "Length of the gradient by each layer's weights",
        "mean over mini-batches, batch statistics",
    );
    let x = Axis::numbers("convolution or linear map, by depth");
    let all = &found.gradients;
    Chart::new(title, note, x, Axis::numbers("").logarithmic())
        .curve(Curve::new("clean", Hue::Clean, Mark::LineAndDots, points(&|n| all[n].clean)))
        .curve(Curve::new(
            "attack",
            Hue::Adversarial,
            Mark::LineAndDots,
            points(&|n| all[n].adversarial),
        ))
}

//! The page of a run, or of several side by side: what was found, how it came about, and how to find it again.

mod course;
mod judged;
mod side_by_side;

use super::grid::tile;
use super::number::{duration, percent, percent_interval, thousands};
use super::page::{Block, Headline, Page, Picture, PictureRow, Text, Tone};
use crate::evaluate::{Crafted, Evaluation};
use crate::train::history::History;
use crate::train::recipe::Recipe;
use crate::train::record::RunRecord;

/// All that is known of a run.
#[derive(Clone, Debug)]
pub struct RunFindings {
    /// Its folder, as the user named it.
    pub name: String,
    /// What it says about itself.
    pub record: RunRecord,
    /// What it was to do.
    pub recipe: Recipe,
    /// Its course.
    pub history: History,
    /// What was judged, the figures one came for first.
    pub evaluations: Vec<Judged>,
    /// Some of its images under attack, or why there are none.
    pub gallery: Result<Gallery, String>,
}

/// An evaluation of a run's model.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Such as `best model, adversarial branch`.
    pub name: String,
    /// Its figures.
    pub evaluation: Evaluation,
}

/// Images before and after an attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Gallery {
    /// The attack and the threat.
    pub attack: String,
    /// The images, and what the network says of them.
    pub crafted: Crafted,
    /// Those to be shown, by position.
    pub shown: Vec<usize>,
    /// How many of all were turned.
    pub turned: usize,
    /// By how much changes are enlarged around grey.
    pub amplification: f32,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// The page of runs; of one, or of several side by side.
pub fn page(runs: &[RunFindings]) -> Page {
    match runs {
        [run] => of_one(run),
        runs => side_by_side::page(runs),
    }
}

fn of_one(run: &RunFindings) -> Page {
    let record = &run.record;
    let mut page = Page::new("Adamant, a run", title(run), lede(run));
    headlines(&mut page, run);
    body(&mut page, run);
    page.source("Program", program(record));
    page.source("Machine", machine(record));
    page.source("Seed", record.seed.to_string());
    page
}

/// The last part of its folder's name.
fn title(run: &RunFindings) -> String {
    run.name.trim_end_matches('/').rsplit('/').next().unwrap_or(&run.name).to_string()
}

fn program(record: &RunRecord) -> String {
    let dirty = if record.dirty { ", with changes" } else { "" };
    format!("adamant {}, revision {}{dirty}", record.version, record.revision)
}

fn machine(record: &RunRecord) -> String {
    let m = &record.machine;
    format!(
        "{}, {} threads, {} kernels, {} {}",
        m.processor, m.threads, m.kernel, m.system, m.architecture
    )
}

fn lede(run: &RunFindings) -> Text {
    let (recipe, record) = (&run.recipe, &run.record);
    let network = &recipe.network;
    // Records of the first versions do not know how many there were to be.
    let steps = match record.steps {
        0 => thousands(record.step),
        steps => format!("{} of {}", thousands(record.step), thousands(steps)),
    };
    Text::new().plain(format!(
        "{} trained on {} by the recipe {}, {steps} steps in {}.",
        network.architecture,
        recipe.data.source,
        record.recipe,
        duration(record.seconds)
    ))
}

/// Clean accuracy, then the accuracy under each attack, of the model and branch one came for.
fn headlines(page: &mut Page, run: &RunFindings) {
    let Some(Judged { name, evaluation: e }) = run.evaluations.first() else {
        let text = "The run has not been judged yet; its validations are below.";
        return page.note(Tone::Neutral, "No evaluation", text);
    };
    let headline = |share: f64, ends: [f64; 2], label: String| Headline {
        value: percent(share),
        label,
        detail: format!("95 %: {}, n = {}", percent_interval(ends), thousands(e.samples as u64)),
    };
    let mut all = vec![headline(e.clean_accuracy, e.clean_ci95.0, "right as they are".into())];
    let attacks = e.attacks.iter();
    all.extend(attacks.map(|a| headline(a.robust_accuracy, a.ci95.0, format!("under {}", a.name))));
    if let (Some(worst), Some(ends)) = (e.worst_case_accuracy, e.worst_case_ci95)
        && e.attacks.len() > 2
    {
        all.push(headline(worst, ends.0, "under all of them".into()));
    }
    page.headlines(all);
    page.paragraph(Text::new().quiet(format!("{name}: {}", judged::conditions(e))));
}

fn body(page: &mut Page, run: &RunFindings) {
    for alarm in &run.record.alarms {
        page.note(Tone::Warning, format!("Alarm at step {}", alarm.step), alarm.message.clone());
    }
    if let Some(error) = &run.record.error {
        page.note(Tone::Failure, "The run failed", error.clone());
    }
    if !run.evaluations.is_empty() {
        page.heading("Under attack");
        let classes = run.gallery.as_ref().map_or(&[][..], |gallery| &gallery.classes);
        judged::tables(page, &run.evaluations, classes);
    }
    gallery(page, run);
    course::charts(page, run);
    again(page, run);
}

fn gallery(page: &mut Page, run: &RunFindings) {
    page.heading("Images under attack");
    let gallery = match &run.gallery {
        Ok(gallery) => gallery,
        Err(reason) => return page.paragraph(format!("None are shown: {reason}.")),
    };
    let crafted = &gallery.crafted;
    page.paragraph(format!(
        "{} turned {} of {} images; images that it turned are shown first. The change is enlarged {} times around grey.",
        gallery.attack, gallery.turned, crafted.labels.len(), gallery.amplification
    ));
    let name = |class: u32| {
        gallery.classes.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    };
    let said = |class: u32, truth: u32| match class == truth {
        true => Text::new().plain(name(class)),
        false => Text::new().strong(name(class)),
    };
    let rows = gallery.shown.iter().map(|&position| {
        let (image, adversarial) =
            (crafted.images.one(position), crafted.adversarial.one(position));
        let change =
            |place: usize| 0.5 + gallery.amplification * (adversarial[place] - image[place]);
        let truth = crafted.labels[position];
        let picture = |head: &str, tile, caption| Picture { tile, head: head.into(), caption };
        let tile = |value: &dyn Fn(usize) -> f32| tile(&crafted.images, value);
        PictureRow {
            pictures: vec![
                picture(
                    "image",
                    tile(&|p| image[p]),
                    said(crafted.clean_predictions[position], truth),
                ),
                picture(
                    "change",
                    tile(&change),
                    Text::new().quiet(format!("truth: {}", name(truth))),
                ),
                picture(
                    "adversarial",
                    tile(&|p| adversarial[p]),
                    said(crafted.predictions[position], truth),
                ),
            ],
        }
    });
    page.pictures(rows.collect());
}

/// How to find it again: commands, the recipe with every key.
fn again(page: &mut Page, run: &RunFindings) {
    page.heading("Again");
    let name = &run.name;
    let mut commands = format!("adamant train {name}/recipe.toml --out again\n");
    if let Some(Judged { evaluation: e, .. }) = run.evaluations.first() {
        let attacks: Vec<&str> = e.attacks.iter().map(|attack| attack.name.as_str()).collect();
        commands += &format!(
            "adamant evaluate {} --data {} --norm {} --eps {} --attacks {} --branch {} --attack-branch {} --seed {} --out evaluation\n",
            e.model,
            e.data,
            e.threat.norm,
            e.threat.epsilon,
            attacks.join(","),
            e.branch,
            e.attack_branch,
            e.seed
        );
    }
    page.code(commands.trim_end());
    let changes = run.record.changes.iter().map(|change| {
        (
            format!("from step {}", change.step),
            Text::from(format!("{}: {} instead of {}", change.key, change.to, change.from)),
        )
    });
    page.facts(changes.collect());
    page.folded("The recipe, every key", vec![Block::Code(run.recipe.print())]);
}

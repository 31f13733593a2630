//! What others read: RobustBench entries of every style, tables, and pictures that say what they show.

use crate::support::{batch, frozen, threat};
use adamant::attack::{AttackDefaults, parse};
use adamant::evaluate::audit::Networks;
use adamant::evaluate::{
    Conduct, Evaluation, Evaluator, Figures, Looks, Protocol, Samples, Silent, Subject,
};
use adamant::image::{Images, Shape};
use adamant::report::{Drawing, Entry, Grid, GridRow, Place, Plot, Series, ShareRange, markdown};
use engine::Precision;
use network::Domain;

/// PGD of 30 steps on 40 images, looked at on its way.
fn evaluation(protocol: Protocol, names: &[&str]) -> Evaluation {
    let threat = threat("8/255");
    let defaults = AttackDefaults::new(threat.clone());
    let evaluator = Evaluator {
        threat,
        attacks: names.iter().map(|name| parse(name, &defaults).expect("a name")).collect(),
        protocol,
        branch: Domain::CLEAN,
        attack_branch: Domain::CLEAN,
        precision: Precision::F32,
        samples: Samples::All,
        seed: 0,
        batch_size: 7,
    };
    let frozen = frozen();
    let subject = Subject { model: "small".into(), data: "noise".into() };
    let conduct = Conduct { looks: Looks::Along, ..Conduct::default() };
    let networks = Networks::new(&frozen, &frozen);
    evaluator.conduct_frozen(&networks, subject, &batch(40), &mut Silent, conduct).expect("figures")
}

const ENTRY: &str = r#"{
  "link": "https://arxiv.org/abs/0000.00000",
  "name": "A title",
  "authors": "A and B",
  "additional_data": false,
  "number_forward_passes": 1,
  "dataset": "cifar10",
  "venue": "NeurIPS 2020",
  "architecture": "WideResNet-34-10",
  "eps": "8/255",
  "clean_acc": "84.92",
  "reported": "56.43",
  "autoattack_acc": "53.08",
  "unreliable": false
}
"#;

#[test]
fn an_entry_reads_and_writes_back_as_it_is() {
    let entry = Entry::read(ENTRY).unwrap();
    assert_eq!((entry.eps.as_str(), entry.autoattack_acc.as_deref()), ("8/255", Some("53.08")));
    assert_eq!(entry.to_json(), ENTRY);
}

#[test]
fn every_style_of_entry_is_read() {
    for (written, read) in [("0.031", "0.031"), ("0.5", "0.5"), ("4", "4"), ("\"0.5\"", "0.5")] {
        let text = ENTRY.replace("\"8/255\"", written);
        assert_eq!(Entry::read(&text).unwrap().eps, read);
    }
    let corruptions = ENTRY
        .replace("\"autoattack_acc\": \"53.08\"", "\"corruptions_acc\": \"70.00\"")
        .replace("\"unreliable\": false", "\"external\": \"1.0\", \"corruptions_mce\": \"53\"");
    let entry = Entry::read(&corruptions).unwrap();
    assert_eq!((entry.autoattack_acc, entry.corruptions_acc.as_deref()), (None, Some("70.00")));
    assert_eq!(entry.other.len(), 2, "keys of a few files are kept");
    assert!(Entry::read("{}").unwrap_err().to_string().contains("link"));
}

#[test]
fn only_the_worst_case_over_autoattack_is_an_entry() {
    let mut figures = evaluation(Protocol::WorstCase, &["fgsm"]);
    let message = Entry::of(&figures).unwrap_err().to_string();
    assert!(message.contains("fgsm") && message.contains("hint"), "{message}");
    figures.attacks[0].name = "autoattack".to_string();
    figures.worst_case_accuracy = Some(0.5308);
    let entry = Entry::of(&figures).unwrap();
    assert_eq!(entry.eps, "8/255");
    assert_eq!((entry.reported.as_str(), entry.unreliable), ("53.08", Some(false)));
    assert_eq!(Entry::read(&entry.to_json()).unwrap(), entry);
}

#[test]
fn g33_a_look_on_the_way_is_the_figure_of_the_shorter_attack() {
    for protocol in [Protocol::Paper, Protocol::WorstCase] {
        let long = evaluation(protocol, &["targeted-pgd-30"]);
        let along = &long.attacks[0].along;
        assert_eq!(along.iter().map(|look| look.steps).collect::<Vec<_>>(), [10, 20]);
        assert!(along.iter().all(|look| look.equals.is_none()), "2.5 epsilon / steps differs");
        // Each image, each look: a forward of the judge besides the search's 30 and the last.
        let attacked = long.attacks[0].attacked as u64;
        assert_eq!(long.attacks[0].forward_passes, attacked * 33);
        assert_eq!(long.attacks[0].backward_passes, attacked * 30);
        assert!(along.iter().all(|look| look.robust_accuracy >= long.attacks[0].robust_accuracy));
    }
}

#[test]
fn a_table_tells_all_that_a_figure_needs_to_be_quoted() {
    let mut figures = evaluation(Protocol::WorstCase, &["fgsm", "pgd-20"]);
    figures.curve = vec![Figures::from(&figures), Figures::from(&figures)];
    let table = markdown::evaluation(&figures);
    for part in [
        "small on noise: 40 images, seed 0, Linf 8/255 (untargeted), protocol worst case",
        "| none (clean) | 90.0 % | 76.9 - 96.0 |",
        "| pgd-20 after 10 steps |",
        "| **worst case** |",
        "| epsilon | clean | fgsm | pgd-20 |",
    ] {
        assert!(table.contains(part), "{part:?} is missing of\n{table}");
    }
    let columns = |line: &str| line.matches('|').count();
    for lines in table.split("\n\n").filter(|block| block.starts_with('|')) {
        let widths: Vec<usize> = lines.lines().map(columns).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{lines}");
    }
}

#[test]
fn by_class_all_images_count_once() {
    let figures = evaluation(Protocol::WorstCase, &["pgd-20"]);
    assert_eq!(figures.classes.iter().map(|class| class.samples).sum::<usize>(), 40);
    let right = figures.classes.iter().map(|class| class.clean_accuracy * class.samples as f64);
    assert!((right.sum::<f64>() / 40.0 - figures.clean_accuracy).abs() < 1e-12);
}

/// Width and height of the picture, and its distinct colours.
fn decoded(png: &[u8]) -> (u32, u32, usize) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG file");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
    let info = reader.next_frame(&mut bytes).expect("a whole picture");
    let colors: std::collections::BTreeSet<&[u8]> = bytes.chunks_exact(3).collect();
    (info.width, info.height, colors.len())
}

fn both(drawing: &Drawing, parts: &[&str]) {
    let svg = drawing.to_svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for part in parts {
        assert!(svg.contains(part), "{part:?} is missing of {svg}");
    }
    let (width, height, colors) = decoded(&drawing.to_png());
    assert_eq!((width, height), (2 * drawing.width as u32, 2 * drawing.height as u32));
    assert!(colors > 2, "something is drawn");
}

#[test]
fn a_curve_shows_its_axes_its_intervals_and_its_names() {
    let place = |x: f64, label: &str| Place { x, label: label.to_string() };
    let points = vec![(0.0, 0.9, [0.8, 0.95]), (0.5, 0.5, [0.4, 0.6]), (1.0, 0.1, [0.0, 0.2])];
    let plot = Plot {
        title: "Linf, 100 images".to_string(),
        x_label: "epsilon".to_string(),
        places: vec![place(0.0, "0"), place(0.5, "4/255"), place(1.0, "8/255")],
        range: ShareRange::ALL,
        series: vec![Series { name: "pgd-20".to_string(), points }],
    };
    both(&plot.draw(), &["Linf, 100 images", "4/255", "pgd-20", "100%", "polygon", "polyline"]);
}

#[test]
fn a_grid_states_its_amplification_and_both_predictions() {
    let shape = Shape::new(3, 4, 4);
    let images = Images { pixels: vec![0.5; 48], ..Images::zeros(1, shape) };
    let adversarial = Images { pixels: vec![0.53; 48], ..Images::zeros(1, shape) };
    let rows = [GridRow { position: 0, before: "cat".into(), after: "dog".into() }];
    let grid = Grid {
        title: "pgd-20, Linf 8/255",
        images: &images,
        adversarial: &adversarial,
        amplification: 10.0,
        rows: &rows,
    };
    let drawing = grid.draw();
    both(&drawing, &["change x 10", ">cat<", ">dog<", "data:image/png;base64,", "Linf 8/255"]);
}

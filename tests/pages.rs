//! Pages as a browser draws them: a real headless Chromium renders them and tells what is there.
//!
//! Needs `chromium` (Debian's package of that name), or a browser named by `ADAMANT_CHROMIUM`; `.ci/run` installs it.

mod runs;

use runs::Setting;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

fn browser() -> Command {
    let chosen = std::env::var("ADAMANT_CHROMIUM").ok();
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found =
        chosen.or_else(|| NAMES.iter().find(|name| runs(name)).map(|name| name.to_string()));
    let program = found.unwrap_or_else(|| {
        panic!(
            "this test draws pages in a browser and found none\n  hint: apt-get install chromium"
        )
    });
    let mut command = Command::new(program);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A script that measures the page after it is drawn and leaves the result as the only text of the document.
const MEASURE: &str = r#"<script>
addEventListener("load", () => {
  const shown = e => e.getClientRects().length > 0;
  const beyond = [...document.querySelectorAll("main *")].filter(e =>
    shown(e) && !e.closest(".box, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1);
  const words = [...document.querySelectorAll("svg text")].filter(shown);
  const told = {
    width: innerWidth, page: document.documentElement.scrollWidth,
    beyond: beyond.map(e => e.tagName + "." + e.className),
    cut: words.filter(t => t.getBoundingClientRect().right > innerWidth + 1 || t.getBoundingClientRect().left < -1)
      .map(t => t.textContent),
    smallest: Math.min(...words.map(t => 11 * t.getBoundingClientRect().height / t.getBBox().height)),
    lines: [...document.querySelectorAll("svg path.line")].filter(shown)
      .filter(p => p.getTotalLength() > 20).length,
    dots: [...document.querySelectorAll("svg circle")].filter(shown).length,
    images: [...document.images].filter(i => i.complete && i.naturalWidth > 0).length,
    broken: [...document.images].filter(i => i.naturalWidth == 0).length,
    paper: getComputedStyle(document.body).backgroundColor,
    text: document.body.innerText,
  };
  document.body.textContent = JSON.stringify(told);
});
</script></body>"#;

/// What a browser of `width` sees of the page: with the script in a copy, whose policy allows it.
fn seen(page: &Path, width: u32, flags: &[&str]) -> Value {
    let html = fs::read_to_string(page).expect("a page");
    let policy = "style-src 'unsafe-inline'";
    assert!(html.contains(policy));
    let allowing = format!("{policy}; script-src 'unsafe-inline'");
    let copy = page.with_file_name(format!("measured-{width}.html"));
    let html = html.replace(policy, &allowing).replace("</body>", MEASURE);
    // A frame is as narrow as it is told, a window of the browser is not.
    fs::write(&copy, html).expect("a copy");
    let frame = page.with_file_name(format!("frame-{width}.html"));
    let outer = format!(
        "<body><iframe id=f style=\"width:{width}px;height:4000px;border:0\" src=\"{}\"></iframe><script>\
         addEventListener(\"load\", () => setTimeout(() => {{ document.body.textContent = \
         document.getElementById(\"f\").contentDocument.body.textContent }}, 200))</script></body>",
        copy.file_name().expect("a name").to_string_lossy()
    );
    fs::write(&frame, outer).expect("a frame");
    let output = browser()
        .args(flags)
        .args(["--allow-file-access-from-files", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--window-size={},4200", width + 40))
        .arg(format!("file://{}", frame.display()))
        .output();
    let text = String::from_utf8(succeeded(output.expect("a browser")).stdout).expect("text");
    let json = text.split_once("<body>").and_then(|(_, rest)| rest.split_once("</body>"));
    let json = json.unwrap_or_else(|| panic!("no measurement in {text}")).0;
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn is_whole(told: &Value) {
    assert_eq!(told["page"], told["width"], "the page scrolls sideways: {}", told["beyond"]);
    assert_eq!(told["beyond"], serde_json::json!([]));
    assert_eq!(told["cut"], serde_json::json!([]), "words of a plot lie off the page");
    assert!(told["smallest"].as_f64().expect("a size") >= 9.5, "{} pixels", told["smallest"]);
    assert_eq!(told["broken"], 0);
}

#[test]
fn a_run_ends_in_a_page_that_a_browser_draws_whole_broad_and_narrow_light_and_dark() {
    let setting = Setting::new();
    let train = ["train", "tiny.toml", "--out", "tiny", "--quiet", "--threads", "2"];
    succeeded(setting.command(&train).output().expect("a run"));
    let page = setting.path("tiny/report.html");
    let bytes = fs::metadata(&page).expect("the page of the run").len();
    assert!(bytes < 400_000, "{bytes} bytes");
    let mut papers = Vec::new();
    for (width, flags) in
        [(1280, &[][..]), (390, &[][..]), (1280, &["--blink-settings=preferredColorScheme=0"][..])]
    {
        let told = seen(&page, width, flags);
        assert_eq!(told["width"], width);
        is_whole(&told);
        let text = told["text"].as_str().expect("text");
        for word in [
            "right as they are",
            "under pgd-2",
            "95 %",
            "Accuracy on held-out images",
            "Accuracy on training images",
            "Accuracy by class",
            "Images under attack",
            "adamant train tiny/recipe.toml",
            "Machine",
        ] {
            assert!(text.contains(word), "{word} is not on the page:\n{text}");
        }
        // Validation: clean, FGSM, PGD; training: clean and adversarial; losses; rate; gradient.
        assert!(told["lines"].as_u64().expect("a number") >= 7, "{} lines", told["lines"]);
        assert!(told["dots"].as_u64().expect("a number") >= 18, "{} dots", told["dots"]);
        assert!(told["images"].as_u64().expect("a number") >= 12, "{} images", told["images"]);
        papers.push(told["paper"].as_str().expect("a colour").to_string());
    }
    assert_eq!(papers[0], papers[1]);
    assert_ne!(papers[0], papers[2], "dark readers get a light page");
}

#[test]
fn a_study_ends_in_a_page_that_a_browser_draws_whole_broad_and_narrow() {
    let setting = Setting::new();
    let study = ["study", "filters", "--quick", "--out", "filters", "--quiet"];
    succeeded(setting.command(&study).output().expect("a study"));
    for width in [1280, 390] {
        let told = seen(&setting.path("filters/study.html"), width, &[]);
        is_whole(&told);
        let text = told["text"].as_str().expect("text");
        for word in ["Verdicts", "undecided", "The rule", "Every arm", "Caveats", "4 of 4 cells"] {
            assert!(text.contains(word), "{word} is not on the page:\n{text}");
        }
        assert!(told["dots"].as_u64().expect("a number") >= 8, "{} dots", told["dots"]);
    }
}

#[test]
fn runs_side_by_side_name_the_keys_in_which_they_differ() {
    let setting = Setting::new();
    for (name, set) in [("one", "training.epochs=1"), ("two", "training.epochs=2")] {
        let train = ["train", "tiny.toml", "--set", set, "--out", name, "--quiet"];
        succeeded(setting.command(&train).output().expect("a run"));
    }
    // One epoch has one validation: its model is the best and the last.
    let page = fs::read_to_string(setting.path("one/report.html")).expect("the page of a run");
    assert!(page.contains("best and last model, adversarial branch"), "one table for one model");
    assert!(!page.contains(">last model"), "the same table again");
    let report = ["report", "one", "two", "--out", "both.html", "--pictures", "3"];
    succeeded(setting.command(&report).output().expect("a report"));
    for width in [1280, 390] {
        let told = seen(&setting.path("both.html"), width, &[]);
        is_whole(&told);
        let text = told["text"].as_str().expect("text");
        for word in ["2 runs side by side", "training.epochs", "Robust accuracy in training"] {
            assert!(text.contains(word), "{word} is not on the page");
        }
    }
}

#[test]
fn a_folder_without_a_run_has_no_report() {
    let setting = Setting::new();
    let output = setting.command(&["report", "images"]).output().expect("a process");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("images holds no run, expected run.json in it"), "{told}");
}

#[test]
fn a_diagnosis_watches_the_loss_rise_and_is_drawn_whole() {
    let setting = Setting::new();
    let train = ["train", "tiny.toml", "--set", "training.epochs=1", "--out", "tiny", "--quiet"];
    succeeded(setting.command(&train).output().expect("a run"));
    let diagnose =
        ["diagnose", "tiny", "--samples", "32", "--attacks", "pgd-5", "--json", "--quiet"];
    let output = succeeded(setting.command(&diagnose).output().expect("a diagnosis"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let climb = found["climb"].as_array().expect("steps");
    assert_eq!(climb.len(), 6);
    assert!(climb[5]["mean"].as_f64() > climb[0]["mean"].as_f64(), "{climb:?}");
    let seen = found["seen"].as_array().expect("layers");
    assert_eq!(seen.len(), found["stored"].as_array().expect("layers").len());
    for layer in seen {
        for distance in layer["adversarial"].as_array().expect("channels") {
            assert!(distance["divergence"].as_f64().expect("a number") >= 0.0);
        }
    }
    for width in [1280, 390] {
        let told = seen_page(&setting, width);
        is_whole(&told);
        let text = told["text"].as_str().expect("text");
        for word in ["Divergence", "Batch against running statistics", "Cross-entropy along"] {
            assert!(text.contains(word), "{word} is not on the page");
        }
        assert!(told["lines"].as_u64().expect("a number") >= 6, "{} lines", told["lines"]);
    }
}

fn seen_page(setting: &Setting, width: u32) -> Value {
    seen(&setting.path("tiny/diagnose.html"), width, &[])
}

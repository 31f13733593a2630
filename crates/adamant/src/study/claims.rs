//! The paper's claims, and the table that says where each stands.

use super::findings::{Finding, judge};
use super::page::{figure_text, resolution_text};
use super::record::CellRecord;
use super::written::Study;
use crate::report::sentence::capital;
use serde::Deserialize;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// `C1` to `C20`.
    pub id: String,
    /// What it says.
    pub statement: String,
    /// The paper's figure with its tag.
    pub paper: String,
    /// What it would take, for claims that no study tests.
    #[serde(default)]
    pub command: Option<String>,
    /// What a reader must know.
    pub caveats: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claim: Vec<Claim>,
}

/// Every claim, by number.
pub fn paper_claims() -> Vec<Claim> {
    let text = include_str!("../../../../studies/claims.toml");
    let claims: Claims = toml::from_str(text).expect("the built-in claims are tested");
    claims.claim
}

/// PAPER.md's account of the claims, from studies with their records, Markdown: a table of words, then each claim with its
/// figures.
pub fn table(claims: &[Claim], studies: &[(Study, Vec<CellRecord>)]) -> String {
    let judged: Vec<(&Study, Vec<Finding>)> =
        studies.iter().map(|(study, records)| (study, judge(study, records))).collect();
    let accounts: Vec<Account<'_>> =
        claims.iter().map(|claim| Account::of(claim, &judged)).collect();
    let mut regimes: Vec<&str> = Vec::new();
    for (title, _) in accounts.iter().flat_map(|account| &account.findings) {
        if !regimes.contains(title) {
            regimes.push(title);
        }
    }
    let mut text = format!(
        "| claim | statement |{}\n|---|---|{}\n",
        cells(&regimes),
        "---|".repeat(regimes.len())
    );
    for account in &accounts {
        let Claim { id, statement, .. } = account.claim;
        let words: Vec<String> = regimes.iter().map(|regime| account.words(regime)).collect();
        text += &format!("| [{id}](#{}) | {statement} |{}\n", id.to_lowercase(), cells(&words));
    }
    accounts.iter().for_each(|account| text += &account.section());
    text
}

fn cells<S: AsRef<str>>(texts: &[S]) -> String {
    texts.iter().map(|text| format!(" {} |", text.as_ref())).collect()
}

/// A claim with all that was found of it.
struct Account<'a> {
    claim: &'a Claim,
    /// The studies that test it, as they are run.
    commands: Vec<String>,
    /// The regime's title, the finding.
    findings: Vec<(&'a str, &'a Finding)>,
}

impl<'a> Account<'a> {
    fn of(claim: &'a Claim, judged: &'a [(&'a Study, Vec<Finding>)]) -> Self {
        let (mut commands, mut all) = (Vec::new(), Vec::new());
        for (study, findings) in judged {
            if !study.tests.iter().any(|test| test.claim == claim.id) {
                continue;
            }
            commands.push(format!("`adamant study {}`", study.name));
            for finding in findings.iter().filter(|finding| finding.claim == claim.id) {
                let regime = study.regimes.iter().find(|regime| regime.name == finding.regime);
                all.push((regime.map_or(&*finding.regime, |regime| &*regime.title), finding));
            }
        }
        commands.extend(claim.command.clone());
        Self { claim, commands, findings: all }
    }

    /// The verdicts in one regime, each word once.
    fn words(&self, regime: &str) -> String {
        let mut words: Vec<String> = Vec::new();
        for (_, finding) in self.findings.iter().filter(|(title, _)| *title == regime) {
            let word = finding.verdict.to_string();
            if !words.contains(&word) {
                words.push(word);
            }
        }
        if words.is_empty() { "not run yet".to_string() } else { words.join(", ") }
    }

    fn section(&self) -> String {
        let Claim { id, statement, paper, caveats, .. } = self.claim;
        // The anchor of the table's link is the number alone.
        let mut text = format!("\n### <a id=\"{}\"></a>{id}: {statement}\n\n", id.to_lowercase());
        text += &format!(
            "The paper's: {paper}. Run again by {}. {}.\n",
            self.commands.join(", "),
            capital(caveats)
        );
        if self.findings.is_empty() {
            return text + "\nNot run yet.\n";
        }
        text +=
            "\n| compared | data | our figure | resolution | verdict |\n|---|---|---|---|---|\n";
        for (title, finding) in &self.findings {
            text += &format!(
                "| {} | {title} | {} | {} | **{}** |\n",
                finding.what,
                figure_text(finding),
                resolution_text(finding),
                finding.verdict
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{SOME, record};
    use super::*;

    #[test]
    fn the_claims_are_numbered_without_a_gap() {
        let ids: Vec<String> = paper_claims().into_iter().map(|claim| claim.id).collect();
        let expected: Vec<String> = (1..=20).map(|number| format!("C{number}")).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn a_claim_without_records_says_so_and_one_with_has_its_word() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let records: Vec<CellRecord> =
            (0..3).flat_map(|s| [record("a", s, 0.4), record("b", s, 0.5)]).collect();
        let text = table(&paper_claims(), &[(study, records)]);
        let line = |id: &str| text.lines().find(|l| l.starts_with(&format!("| [{id}]"))).unwrap();
        assert!(line("C1").ends_with("| consistent |"), "{}", line("C1"));
        assert!(line("C20").ends_with("| not run yet |"), "{}", line("C20"));
        let section = |id: &str| {
            let (_, rest) = text.split_once(&format!("</a>{id}: ")).unwrap();
            rest.split("\n### ").next().unwrap().to_string()
        };
        let of = section("C1");
        assert!(of.contains("Run again by `adamant study some`."), "{of}");
        let row = "| b less a | Here | +10.0 points [+";
        assert!(
            of.contains(row) && of.contains("3 seeds, n = 10000 | 2.0 points | **consistent** |"),
            "{of}"
        );
        assert!(section("C20").ends_with("Not run yet.\n"));
    }
}

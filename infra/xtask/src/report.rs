//! Test reports in JUnit form, as nextest, vitest and node write them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub times: Vec<(String, Duration)>,
}

impl Report {
    /// Adds the report in `file`; the runner is part of the names. One that cannot be
    /// read counts as a failure: nobody knows how many are in it.
    pub fn add(&mut self, runner: &str, file: &Path) -> Result<()> {
        let added = std::fs::read_to_string(file)
            .with_context(|| format!("{runner} left no report in {}", file.display()))
            .and_then(|text| self.add_text(runner, &text));
        self.failed += usize::from(added.is_err());
        added
    }

    fn add_text(&mut self, runner: &str, text: &str) -> Result<()> {
        let text = without_controls(text);
        let document = roxmltree::Document::parse(&text)
            .with_context(|| format!("the report of {runner} is not XML"))?;
        for case in document
            .descendants()
            .filter(|it| it.has_tag_name("testcase"))
        {
            let has = |tag| case.children().any(|child| child.has_tag_name(tag));
            if has("failure") || has("error") {
                self.failed += 1;
            } else if has("skipped") {
                self.skipped += 1;
            } else {
                self.passed += 1;
            }
            let seconds = case.attribute("time").and_then(|time| time.parse().ok());
            let name = case.attribute("name").unwrap_or("unnamed");
            let time = Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default();
            self.times.push((format!("{runner}: {name}"), time));
        }
        Ok(())
    }

    /// The tests that took longest, longest first.
    pub fn slowest(&self, count: usize) -> Vec<&(String, Duration)> {
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        times.truncate(count);
        times
    }
}

/// Node writes the colours of a failure as they are, which XML does not allow.
fn without_controls(text: &str) -> String {
    let allowed = |letter: &char| *letter >= ' ' || matches!(letter, '\t' | '\n' | '\r');
    text.chars().filter(allowed).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Report;

    #[test]
    fn passed_failed_and_skipped_tests_are_counted_and_the_slowest_comes_first() {
        let mut report = Report::default();
        let text = r#"<testsuites><testsuite>
            <testcase name="quick" time="0.1"/>
            <testcase name="slow" time="2.5"><failure/></testcase>
            <testcase name="left out" time="0"><skipped/></testcase>
        </testsuite></testsuites>"#;
        report.add_text("any", text).expect("a report");
        assert_eq!((report.passed, report.failed, report.skipped), (1, 1, 1));
        assert_eq!(report.slowest(1)[0].0, "any: slow");
    }

    #[test]
    fn a_failure_in_colours_is_counted() {
        let mut report = Report::default();
        let text = "<testsuite><testcase name='red'>\
            <failure message='\u{1b}[31mnot equal\u{1b}[39m'/></testcase></testsuite>";
        report.add_text("node", text).expect("a report");
        assert_eq!((report.passed, report.failed), (0, 1));
    }

    #[test]
    fn a_report_that_cannot_be_read_counts_as_a_failure() {
        let mut report = Report::default();
        assert!(report.add("any", Path::new("there/is/none")).is_err());
        assert_eq!(report.failed, 1);
    }
}

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
    /// Adds the report in `file`; the runner is part of the names.
    pub fn add(&mut self, runner: &str, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{runner} left no report in {}", file.display()))?;
        self.add_text(runner, &text)
    }

    fn add_text(&mut self, runner: &str, text: &str) -> Result<()> {
        let document = roxmltree::Document::parse(text)
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

#[cfg(test)]
mod tests {
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
}

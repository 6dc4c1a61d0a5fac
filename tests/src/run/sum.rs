//! Many runs as one table.

use std::collections::BTreeMap;
use std::fmt;

use super::outcome::{Again, Outcome};
use crate::nemesis::Fault;

pub struct Sum<'a>(pub &'a [Outcome]);

impl Sum<'_> {
    pub fn is_clean(&self) -> bool {
        self.0.iter().all(Outcome::is_clean)
    }

    pub fn acknowledged(&self) -> u64 {
        self.of(|run| run.acknowledged)
    }

    pub fn kills(&self) -> u64 {
        self.of(Outcome::kills)
    }

    fn of(&self, number: impl Fn(&Outcome) -> u64) -> u64 {
        self.0.iter().map(number).sum()
    }

    /// What its process lived through.
    fn beside(&self, component: &str) -> u64 {
        self.of(|run| {
            let faults = run.strikes.get(component).into_iter().flatten();
            let beside = faults.filter(|(fault, _)| !Fault::OF_PROCESSES.contains(fault));
            beside.map(|(_, count)| count).sum()
        })
    }

    fn faults(&self, component: &str, fault: Fault) -> u64 {
        self.of(|run| {
            let faults = run.strikes.get(component);
            faults.and_then(|it| it.get(&fault)).copied().unwrap_or(0)
        })
    }
}

/// Two Markdown tables.
impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<_> = self.0.iter().map(|run| run.seed.to_string()).collect();
        let most = |number: fn(&Outcome) -> usize| self.0.iter().map(number).max().unwrap_or(0);
        let rest = self.0.iter().filter_map(|run| run.settled_s);
        let rows = [
            ("seeds", seeds.join(", ")),
            ("load", format!("{} min", self.of(|run| run.seconds) / 60)),
            (
                "people, clients",
                format!("{}, {}", most(|run| run.people), most(|run| run.clients)),
            ),
            ("operations", grouped(self.of(|run| run.operations))),
            ("acknowledged messages", grouped(self.acknowledged())),
            ("**lost**", format!("**{}**", self.of(|run| run.lost))),
            (
                "**visible duplicates**",
                format!("**{}**", self.of(|run| run.duplicates)),
            ),
            (
                "**order differences**",
                format!("**{}**", self.of(|run| run.order_differences)),
            ),
            (
                "broken invariants",
                self.of(|run| run.broken.len() as u64).to_string(),
            ),
            (
                "repeats on the wire",
                grouped(self.of(|run| run.wire_repeats)),
            ),
            ("kills", self.kills().to_string()),
            (
                "at rest after the last fault, worst",
                format!("{:.1} s", rest.fold(0.0, f64::max)),
            ),
        ];
        writeln!(f, "| | |\n| --- | --- |")?;
        for (name, value) in rows {
            writeln!(f, "| {name} | {value} |")?;
        }
        writeln!(
            f,
            "\n| component | killed | frozen | restarted | otherwise | acknowledged again: median, worst | stored again: median, worst |\n| --- | --- | --- | --- | --- | --- | --- |"
        )?;
        let again = self.0.iter().flat_map(|run| &run.again);
        let mut by_component: BTreeMap<_, Vec<&Again>> = BTreeMap::new();
        for one in again {
            by_component.entry(one.component).or_default().push(one);
        }
        for (component, again) in &by_component {
            writeln!(
                f,
                "| {component} | {} | {} | {} | {} | {} | {} |",
                self.faults(component, Fault::Kill),
                self.faults(component, Fault::Freeze),
                self.faults(component, Fault::Restart),
                self.beside(component),
                times(again.iter().filter_map(|one| one.acknowledged_ms)),
                times(again.iter().filter_map(|one| one.stored_ms)),
            )?;
        }
        writeln!(
            f,
            "\n*Otherwise*: the way to it was broken, or the broker without its process. *Again*: from the end of the strike to the next message of anybody."
        )
    }
}

fn times(times: impl Iterator<Item = u64>) -> String {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    match times.last() {
        None => "–".to_owned(),
        Some(worst) => {
            let seconds = |ms: u64| ms as f64 / 1000.0;
            let median = times[times.len() / 2];
            format!("{:.2} s, {:.2} s", seconds(median), seconds(*worst))
        }
    }
}

/// `1,034,414`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

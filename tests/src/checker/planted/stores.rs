//! What may go wrong in the stores beside the logs.

use super::{Plot, is_final};
use crate::history::{Entry, Hash, Record};

pub fn stale_page(plot: &mut Plot) -> Option<()> {
    let page = plot.pick(|line| is_final(line, Entry::Cached) && line.conv.is_some())?;
    plot.records[page].hash = Some(Hash(1));
    Some(())
}

pub fn stale_status(plot: &mut Plot) -> Option<()> {
    let user = plot.pick(|line| is_final(line, Entry::Cached) && line.conv.is_none())?;
    plot.records[user].hash = Some(Hash(1));
    Some(())
}

/// An older page stands under the key of the newest entry.
pub fn lagging_page(plot: &mut Plot) -> Option<()> {
    let pages: Vec<Record> = plot
        .all(|line| is_final(line, Entry::Cached) && line.conv.is_some())
        .map(|index| plot.records[index].clone())
        .collect();
    let older = |newer: &Record| {
        let mut pages = pages.iter();
        pages.find(|page| page.conv == newer.conv && page.hash != newer.hash)
    };
    let newer = plot.pick(|line| {
        is_final(line, Entry::Cached) && line.conv.is_some() && older(line).is_some()
    })?;
    plot.records[newer].hash = older(&plot.records[newer])?.hash;
    Some(())
}

pub fn two_leaves(plot: &mut Plot) -> Option<()> {
    let leaf = plot.pick(|line| is_final(line, Entry::Leaf))?;
    plot.records[leaf].count = Some(2);
    Some(())
}

pub fn kept_for_ever(plot: &mut Plot) -> Option<()> {
    let settled = plot.settled();
    let last = plot.pick(|line| is_final(line, Entry::Resource) && line.t_mono == settled)?;
    plot.records[last].count = plot.records[last].count.map(|count| count * 2);
    Some(())
}

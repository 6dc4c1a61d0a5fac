//! What may go wrong with a log and with what is seen of it.

use chat_events::{ConversationId, MessageId};

use super::{Plot, exchange, is_final, is_of_log, is_row, is_view};
use crate::history::{Entry, Function, Hash, Kind, Record, Via};

/// Nobody ever sees it, and the numbers close over it.
pub fn lost(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    lose(plot, &row)
}

fn lose(plot: &mut Plot, row: &Record) -> Option<()> {
    let gone = row.seq?;
    let is_it = |line: &Record| {
        line.conv == row.conv
            && line.seq == Some(gone)
            && (is_of_log(line) || is_final(line, Entry::Notice))
    };
    let notices = plot
        .all(|line| is_it(line) && line.entry == Some(Entry::Notice))
        .count();
    plot.records.retain(|line| !is_it(line));
    plot.change(
        |line| line.conv == row.conv,
        |line| {
            let close = |number: i64| if number >= gone { number - 1 } else { number };
            line.seq = line.seq.map(close);
            line.up_to = line.up_to.map(close);
        },
    );
    plot.change(
        |line| is_final(line, Entry::Notice) && line.by.is_none(),
        |line| line.count = line.count.map(|count| count - notices as i64),
    );
    Some(())
}

pub fn accepted_and_refused(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    lose(plot, &row)?;
    let answer = plot.picked(|line| {
        line.f == Function::Send && line.kind == Kind::Ok && line.client_id == row.client_id
    })?;
    plot.records.push(Record {
        t_mono: answer.t_mono + 1,
        kind: Kind::Fail,
        seq: None,
        message_id: None,
        ..answer
    });
    Some(())
}

/// The tables know nothing of it; those who were there still do.
pub fn conversation_lost(plot: &mut Plot) -> Option<()> {
    let read = plot.picked(|line| line.f == Function::Read && line.kind == Kind::Ok)?;
    plot.records.retain(|line| {
        line.f != Function::Final || line.conv != read.conv || line.via == Some(Via::View)
    });
    Some(())
}

/// One client ends without a line of it.
pub fn never_heard_of(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    let index = plot.pick(|line| {
        is_final(line, Entry::Position) && line.via == Some(Via::View) && line.conv == row.conv
    })?;
    plot.records[index].seq = Some(0);
    let process = plot.records[index].process;
    plot.records.retain(|line| {
        let heard = matches!(line.f, Function::Recv | Function::View);
        !heard || line.process != process || line.conv != row.conv
    });
    Some(())
}

pub fn not_on_a_page(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    let index = plot.pick(|line| {
        line.via == Some(Via::Rest) && is_of_log(line) && line.client_id == row.client_id
    })?;
    plot.records.remove(index);
    Some(())
}

pub fn another_text_stored(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    plot.change(
        |line| is_row(line) && line.client_id == row.client_id,
        |line| line.hash = Some(Hash(1)),
    );
    Some(())
}

pub fn never_sent(plot: &mut Plot) -> Option<()> {
    let row = plot.stored_message()?;
    plot.records
        .retain(|line| line.f != Function::Send || line.client_id != row.client_id);
    Some(())
}

pub fn refused_and_seen(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    plot.change(
        |line| line.f == Function::Send && line.kind == Kind::Ok && line.client_id == row.client_id,
        |line| line.kind = Kind::Fail,
    );
    Some(())
}

pub fn another_sender(plot: &mut Plot) -> Option<()> {
    let row = plot.stored_message()?;
    let other = plot.picked(|line| {
        is_final(line, Entry::Member) && line.conv == row.conv && line.by != row.by
    })?;
    plot.change(
        |line| is_of_log(line) && line.client_id == row.client_id,
        |line| line.by = other.by,
    );
    Some(())
}

pub fn another_text(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| line.f == Function::Recv && line.entry == Some(Entry::Message))?;
    plot.records[index].hash = Some(Hash(1));
    Some(())
}

pub fn another_conversation(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| line.f == Function::Recv && line.entry == Some(Entry::Message))?;
    let here = plot.records[index].conv;
    let there = plot.picked(|line| is_row(line) && line.conv != here)?;
    plot.records[index].conv = there.conv;
    Some(())
}

/// In the table alone, with a new number.
pub fn stored_twice(plot: &mut Plot) -> Option<()> {
    let row = plot.stored_message()?;
    let last = grow(plot, row.conv?)?;
    let message_id = Some(MessageId(plot.new_id()));
    plot.records.push(Record {
        seq: Some(last),
        message_id,
        ..row
    });
    Some(())
}

pub fn shown_twice(plot: &mut Plot) -> Option<()> {
    let view = plot.picked(|line| is_view(line) && line.entry == Some(Entry::Message))?;
    let last = last_view(plot, &view)?;
    plot.records.push(Record {
        t_mono: last.t_mono + 1,
        seq: last.seq.map(|seq| seq + 1),
        ..view
    });
    Some(())
}

pub fn another_order(plot: &mut Plot) -> Option<()> {
    let second = plot.picked(|line| is_view(line) && line.seq > Some(1))?;
    let of_it = |line: &Record| {
        line.conv == second.conv && line.process == second.process && is_of_log(line)
    };
    let before = second.seq.map(|seq| seq - 1);
    let first = plot.picked(|line| of_it(line) && is_view(line) && line.seq == before)?;
    plot.change(
        |line| of_it(line) && (line.seq == first.seq || line.seq == second.seq),
        |line| {
            let other = if line.seq == first.seq {
                &second
            } else {
                &first
            };
            exchange(line, other);
        },
    );
    Some(())
}

pub fn another_number(plot: &mut Plot) -> Option<()> {
    let row = plot.acknowledged()?;
    plot.change(
        |line| line.f == Function::Send && line.kind == Kind::Ok && line.client_id == row.client_id,
        |line| line.seq = row.seq.map(|seq| seq + 1),
    );
    Some(())
}

pub fn counter_ahead(plot: &mut Plot) -> Option<()> {
    let index =
        plot.pick(|line| is_final(line, Entry::Position) && line.via == Some(Via::Database))?;
    plot.records[index].seq = plot.records[index].seq.map(|seq| seq + 1);
    Some(())
}

pub fn missing_row(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(is_row)?;
    plot.records.remove(index);
    Some(())
}

pub fn shown_after_a_hole(plot: &mut Plot) -> Option<()> {
    let after = plot.picked(|line| is_view(line) && line.seq > Some(1))?;
    let before = after.seq.map(|seq| seq - 1);
    let hole = plot.pick(|line| {
        is_view(line) && (line.conv, line.process, line.seq) == (after.conv, after.process, before)
    })?;
    plot.records.remove(hole);
    Some(())
}

/// Two sends, one answered before the other began, change places for everybody.
pub fn answered_and_overtaken(plot: &mut Plot) -> Option<()> {
    let late = plot.acknowledged()?;
    let began = plot.picked(|line| {
        line.f == Function::Send && line.kind == Kind::Invoke && line.client_id == late.client_id
    })?;
    let answered: std::collections::HashSet<_> = plot
        .records
        .iter()
        .filter(|line| line.f == Function::Send && line.kind == Kind::Ok)
        .filter(|line| line.conv == late.conv && line.t_mono < began.t_mono)
        .map(|line| line.client_id)
        .collect();
    let early = plot.picked(|line| {
        is_row(line) && line.client_id.is_some() && answered.contains(&line.client_id)
    });
    let Some(early) = early else {
        // It was among the first ones: throw the dice again.
        return answered_and_overtaken(plot);
    };
    plot.change(
        |line| {
            line.conv == late.conv
                && is_of_log(line)
                && (line.seq == early.seq || line.seq == late.seq)
        },
        |line| {
            let other = if line.seq == early.seq { &late } else { &early };
            exchange(line, other);
        },
    );
    Some(())
}

pub fn greeted_with_the_past(plot: &mut Plot) -> Option<()> {
    let view = plot.picked(is_view)?;
    let last = last_view(plot, &view)?;
    let conn = Some(plot.new_connection(view.process));
    let t = last.t_mono;
    let line = |t, kind, f| Record {
        user: view.user,
        conn,
        ..Record::new(t, view.process, kind, f)
    };
    plot.records.extend([
        line(t + 1, Kind::Invoke, Function::Connect),
        line(t + 2, Kind::Ok, Function::Connect),
        line(t + 3, Kind::Info, Function::Connect),
        Record {
            entry: Some(Entry::Hello),
            conv: view.conv,
            seq: last.seq.map(|seq| seq - 1),
            ..line(t + 2, Kind::Info, Function::Recv)
        },
    ]);
    Some(())
}

pub fn shown_the_past(plot: &mut Plot) -> Option<()> {
    let view = plot.picked(is_view)?;
    let last = last_view(plot, &view)?;
    plot.records.push(Record {
        t_mono: last.t_mono + 1,
        ..view
    });
    Some(())
}

pub fn mark_falls(plot: &mut Plot) -> Option<()> {
    let read = plot.picked(|line| is_row(line) && line.entry == Some(Entry::Read))?;
    let last = grow(plot, read.conv?)?;
    plot.records.push(Record {
        seq: Some(last),
        up_to: Some(0),
        ..read
    });
    Some(())
}

pub fn mark_ahead(plot: &mut Plot) -> Option<()> {
    let read = plot.picked(|line| is_row(line) && line.entry == Some(Entry::Read))?;
    plot.change(
        |line| line.conv == read.conv && line.entry == Some(Entry::Read) && line.seq == read.seq,
        |line| line.up_to = line.seq.map(|seq| seq + 5),
    );
    Some(())
}

/// The log gets one more number.
fn grow(plot: &mut Plot, conv: ConversationId) -> Option<i64> {
    let index = plot.pick(|line| {
        is_final(line, Entry::Position)
            && line.via == Some(Via::Database)
            && line.conv == Some(conv)
    })?;
    let seq = plot.records[index].seq? + 1;
    plot.records[index].seq = Some(seq);
    Some(seq)
}

/// The last thing that the same client shows of the same conversation.
fn last_view(plot: &Plot, view: &Record) -> Option<Record> {
    plot.records
        .iter()
        .filter(|line| is_view(line) && line.conv == view.conv && line.process == view.process)
        .max_by_key(|line| line.seq)
        .cloned()
}

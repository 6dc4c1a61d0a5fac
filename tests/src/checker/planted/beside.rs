//! What may go wrong beside the log.

use chat_events::{ClientId, UserId};

use super::{Plot, is_final, is_row, is_view};
use crate::history::{Entry, Function, Hash, Kind, Record, Via};

const SECOND: u64 = 1_000_000;

pub fn overheard(plot: &mut Plot) -> Option<()> {
    let heard =
        plot.picked(|line| line.f == Function::Recv && line.entry == Some(Entry::Message))?;
    let (process, user) = (plot.new_process(), Some(UserId(plot.new_id())));
    plot.records.push(Record {
        process,
        user,
        ..heard
    });
    Some(())
}

pub fn removed_and_still_there(plot: &mut Plot) -> Option<()> {
    let page =
        plot.picked(|line| line.via == Some(Via::Rest) && line.entry == Some(Entry::Message))?;
    plot.records.push(Record {
        conv: page.conv,
        by: page.user,
        ..Record::new(page.t_mono - 2 * SECOND, 0, Kind::Ok, Function::Leave)
    });
    Some(())
}

pub fn mark_lost(plot: &mut Plot) -> Option<()> {
    let row = plot.picked(|line| is_final(line, Entry::Mark))?;
    plot.records.push(Record {
        user: row.by,
        conv: row.conv,
        up_to: row.up_to.map(|up_to| up_to + 1),
        ..Record::new(SECOND, plot.new_process(), Kind::Ok, Function::Read)
    });
    Some(())
}

pub fn mark_differs(plot: &mut Plot) -> Option<()> {
    let read = plot.picked(|line| is_row(line) && line.entry == Some(Entry::Read))?;
    plot.change(
        |line| is_final(line, Entry::Mark) && (line.conv, line.by) == (read.conv, read.by),
        |line| line.up_to = line.up_to.map(|up_to| up_to + 1),
    );
    Some(())
}

pub fn unread_differs(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Unread) && line.conv.is_some())?;
    plot.records[index].count = plot.records[index].count.map(|count| count + 1);
    Some(())
}

pub fn total_differs(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Unread) && line.conv.is_none())?;
    plot.records[index].count = plot.records[index].count.map(|count| count + 1);
    Some(())
}

pub fn wrongly_offline(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Presence))?;
    plot.records[index].active = Some(false);
    Some(())
}

/// More often than anybody loses a connection.
pub fn flaps(plot: &mut Plot) -> Option<()> {
    let told =
        plot.picked(|line| line.f == Function::Recv && line.entry == Some(Entry::Presence))?;
    plot.records.extend((1..=20).map(|change| Record {
        t_mono: told.t_mono + change,
        active: Some(change % 2 == 0),
        ..told.clone()
    }));
    Some(())
}

pub fn types_for_ever(plot: &mut Plot) -> Option<()> {
    // A client that is there in the end.
    let stays = plot.picked(stays_to_the_end)?;
    let by = plot.picked(|line| {
        is_final(line, Entry::Member) && line.conv == stays.conv && line.by != stays.user
    })?;
    let t = plot.settled() - 30 * SECOND;
    let typing = |record: Record| Record {
        conv: stays.conv,
        active: Some(true),
        ..record
    };
    let said = Record {
        user: by.by,
        ..Record::new(t, plot.new_process(), Kind::Invoke, Function::Typing)
    };
    plot.records.extend([
        typing(said),
        typing(Record {
            entry: Some(Entry::Typing),
            user: stays.user,
            by: by.by,
            ..Record::new(t + 1, stays.process, Kind::Info, Function::View)
        }),
    ]);
    Some(())
}

/// The last view of a conversation.
fn stays_to_the_end(line: &Record) -> bool {
    is_final(line, Entry::Position) && line.via == Some(Via::View)
}

pub fn types_from_nowhere(plot: &mut Plot) -> Option<()> {
    let view = plot.picked(is_view)?;
    let nobody = UserId(plot.new_id());
    let t = plot.settled() - 30 * SECOND;
    plot.records.push(Record {
        entry: Some(Entry::Typing),
        user: view.user,
        conv: view.conv,
        by: Some(nobody),
        active: Some(true),
        ..Record::new(t, view.process, Kind::Info, Function::Recv)
    });
    Some(())
}

pub fn typing_stored(plot: &mut Plot) -> Option<()> {
    let row = plot.picked(is_row)?;
    plot.records.push(Record {
        entry: Some(Entry::Typing),
        conv: row.conv,
        by: row.by,
        active: Some(true),
        ..Record::new(row.t_mono, 0, Kind::Info, Function::Final)
    });
    Some(())
}

pub fn waits_in_an_outbox(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Outbox))?;
    plot.records[index].count = Some(1);
    Some(())
}

pub fn notice_missing(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Notice) && line.by.is_some())?;
    plot.records.remove(index);
    counted(plot, Entry::Notice, -1);
    Some(())
}

pub fn notice_twice(plot: &mut Plot) -> Option<()> {
    let notice = plot.picked(|line| is_final(line, Entry::Notice) && line.by.is_some())?;
    plot.records.push(notice);
    counted(plot, Entry::Notice, 1);
    Some(())
}

pub fn notice_to_the_sender(plot: &mut Plot) -> Option<()> {
    let row = plot.stored_message()?;
    plot.records.push(Record {
        entry: Some(Entry::Notice),
        conv: row.conv,
        by: row.by,
        seq: row.seq,
        ..Record::new(row.t_mono, 0, Kind::Info, Function::Final)
    });
    counted(plot, Entry::Notice, 1);
    Some(())
}

pub fn half_an_account(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::Account))?;
    plot.records.remove(index);
    Some(())
}

pub fn no_account(plot: &mut Plot) -> Option<()> {
    let member = plot.picked(|line| is_final(line, Entry::Member))?;
    plot.records
        .retain(|line| !is_final(line, Entry::Account) || line.by != member.by);
    Some(())
}

pub fn dead_without_reason(plot: &mut Plot) -> Option<()> {
    let letter = plot.picked(|line| is_final(line, Entry::DeadLetter) && line.hash.is_some())?;
    plot.records.push(Record {
        hash: Some(Hash(1)),
        ..letter
    });
    counted(plot, Entry::DeadLetter, 1);
    Some(())
}

pub fn dead_letter_lost(plot: &mut Plot) -> Option<()> {
    let index = plot.pick(|line| is_final(line, Entry::DeadLetter) && line.hash.is_some())?;
    plot.records.remove(index);
    counted(plot, Entry::DeadLetter, -1);
    Some(())
}

pub fn socket_outlives(plot: &mut Plot) -> Option<()> {
    let stays = plot.picked(stays_to_the_end)?;
    plot.records.push(Record {
        user: stays.user,
        ..Record::new(
            stays.t_mono - 10 * SECOND,
            stays.process,
            Kind::Ok,
            Function::Revoke,
        )
    });
    Some(())
}

pub fn told_after_the_end(plot: &mut Plot) -> Option<()> {
    let heard =
        plot.picked(|line| line.f == Function::Recv && line.entry == Some(Entry::Message))?;
    let ended = signed_out(plot, heard.user);
    plot.records.push(Record {
        process: ended.process,
        t_mono: ended.t_mono + 5 * SECOND,
        ..heard
    });
    Some(())
}

pub fn sends_after_the_end(plot: &mut Plot) -> Option<()> {
    let row = plot.stored_message()?;
    let ended = signed_out(plot, row.by);
    let client_id = Some(ClientId(plot.new_id()));
    plot.records
        .extend([Kind::Invoke, Kind::Ok].map(|kind| Record {
            t_mono: ended.t_mono + 5 * SECOND,
            kind,
            f: Function::Send,
            conv: row.conv,
            client_id,
            hash: row.hash,
            ..ended.clone()
        }));
    Some(())
}

/// One more client of the user, whose session ends as it should.
fn signed_out(plot: &mut Plot, user: Option<UserId>) -> Record {
    let (process, t) = (plot.new_process(), plot.settled() - 20 * SECOND);
    let line = |t, kind, f| Record {
        user,
        conn: Some(1),
        ..Record::new(t, process, kind, f)
    };
    let ended = line(t, Kind::Ok, Function::Revoke);
    plot.records.extend([
        line(t - 2, Kind::Invoke, Function::Connect),
        line(t - 1, Kind::Ok, Function::Connect),
        ended.clone(),
        line(t + 1, Kind::Info, Function::Connect),
    ]);
    ended
}

pub fn last_event_unnoticed(plot: &mut Plot) -> Option<()> {
    let index =
        plot.pick(|line| is_final(line, Entry::Position) && line.via != Some(Via::Database))?;
    plot.records[index].seq = plot.records[index].seq.map(|seq| seq - 1);
    Some(())
}

/// The tables count what they hold.
fn counted(plot: &mut Plot, entry: Entry, change: i64) {
    plot.change(
        |line| is_final(line, entry) && line.by.is_none() && line.hash.is_none(),
        |line| line.count = line.count.map(|count| count + change),
    );
}

//! What a million connections and a hundred thousand messages a second would take, from
//! what one of each took here.

use std::fmt::Write as _;

use crate::record::Run;

const CONNECTIONS: f64 = 1e6;
const MESSAGES: f64 = 1e5;
/// Of one pod of socket-handler: `limits::SOCKETS_PER_POD`.
const OF_A_POD: f64 = chat_events::limits::SOCKETS_PER_POD as f64;
const MEMORY: &str = "KB of a socket after its rest";

/// Nothing when one of the runs is missing.
pub fn section(idle: Option<&Run>, direct: Option<&Run>) -> Option<String> {
    let (idle, direct) = (idle?, direct?);
    let memory = idle.figures.get(MEMORY)?;
    let socket = idle.cpu_us_by_part.get("socket-handler")?;
    let mut parts: Vec<(&String, f64)> = direct
        .cpu_us_by_part
        .iter()
        .map(|(part, us)| (part, us * MESSAGES / 1e6))
        .filter(|(_, cores)| *cores >= 0.05)
        .collect();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let mut out = String::from("## On paper\n\n");
    let _ = writeln!(
        out,
        "A million resting connections, at {memory:.1} KB and {socket:.2} µs a second each \
         (`idle`, {}): {:.0} GB and {:.1} cores, in {:.0} pods of socket-handler, which take \
         {OF_A_POD:.0} sockets each.\n",
        idle.variant,
        memory * CONNECTIONS / 1e6,
        socket * CONNECTIONS / 1e6,
        CONNECTIONS / OF_A_POD,
    );
    let cores: f64 = parts.iter().map(|(_, cores)| cores).sum();
    let each: Vec<String> = parts
        .iter()
        .map(|(part, cores)| format!("{part} {cores:.1}"))
        .collect();
    let _ = writeln!(
        out,
        "A hundred thousand messages a second from one to one, at what one took in `direct`, \
         {}: {cores:.0} cores, of which {}. They cost less where batches are fuller.\n",
        direct.variant,
        each.join(", "),
    );
    out.push_str(
        "PostgreSQL and RabbitMQ are one server and one cluster of quorum queues for each chat, \
         and cannot be given more cores than one machine has; the services can. Beyond that, \
         conversations have to be spread over several databases by their partition, which \
         already decides the queue and the writer, and `message.stored` over several queues: \
         today it goes to every pod, so that its cost grows with the number of pods.\n\n",
    );
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{MEMORY, section};
    use crate::record::Run;

    #[test]
    fn a_million_is_a_million_times_one() -> anyhow::Result<()> {
        let mut idle = Run::new("idle", "10 sockets", "socket and second")?;
        idle.figures.insert(MEMORY.into(), 8.0);
        idle.cpu_us_by_part.insert("socket-handler".into(), 2.0);
        let mut direct = Run::new("direct", "8 outstanding", "message")?;
        direct.cpu_us_by_part.insert("rabbitmq".into(), 50.0);
        assert_eq!(section(Some(&idle), None), None);
        let text = section(Some(&idle), Some(&direct)).unwrap_or_default();
        for part in [
            "8 GB and 2.0 cores",
            "in 50 pods",
            "5 cores, of which rabbitmq 5.0",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        Ok(())
    }
}

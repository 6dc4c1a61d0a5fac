//! A value that many ask for at once is made once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// Questions under way in this process, by key. Nothing is kept: an answer goes to
/// those who asked before it was there.
#[derive(Clone)]
pub struct Flights<T> {
    under_way: Arc<Mutex<HashMap<String, Arc<OnceCell<T>>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            under_way: Arc::default(),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// What `ask` answers, here or for somebody who asked for the same `key`.
    ///
    /// # Errors
    /// Those of `ask`; whoever waits then asks for himself.
    pub async fn join<E, Fut>(&self, key: &str, ask: impl FnOnce() -> Fut) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let answer = self.under_way().entry(key.to_owned()).or_default().clone();
        let flight = Flight {
            flights: self,
            key,
            answer,
        };
        flight.answer.get_or_try_init(ask).await.cloned()
    }
}

impl<T> Flights<T> {
    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<T>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the first who has the answer, or with the last who gives up.
struct Flight<'a, T> {
    flights: &'a Flights<T>,
    key: &'a str,
    answer: Arc<OnceCell<T>>,
}

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way();
        // Held by the map and by this one.
        let is_over = self.answer.initialized() || Arc::strong_count(&self.answer) == 2;
        let is_this = |answer| Arc::ptr_eq(answer, &self.answer);
        if is_over && under_way.get(self.key).is_some_and(is_this) {
            under_way.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;
    use tokio::task::yield_now;

    use super::Flights;

    #[tokio::test]
    async fn those_who_ask_at_once_get_one_answer_and_nothing_is_kept() {
        let (flights, asked) = (Flights::default(), Cell::new(0));
        for round in 1..=2 {
            let ask = async || {
                asked.set(asked.get() + 1);
                yield_now().await;
                Ok::<_, ()>(asked.get())
            };
            let answers = join_all((0..10).map(|_| flights.join("key", ask))).await;
            assert_eq!(answers, [Ok(round); 10]);
            assert!(flights.under_way().is_empty());
        }
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_question_to_the_others() {
        let (flights, asked) = (Flights::default(), Cell::new(0));
        let ask = async || {
            asked.set(asked.get() + 1);
            yield_now().await;
            yield_now().await;
            Ok::<_, ()>(())
        };
        let (first, second) = (flights.join("key", ask), flights.join("key", ask));
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        let third = flights.join("key", ask);
        assert_eq!(futures::join!(first, third), (Ok(()), Ok(())));
        assert_eq!(asked.get(), 1);
        let nobody = flights.join("key", ask);
        drop(nobody);
        assert!(flights.under_way().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_question_that_fails_asks_for_himself() {
        let (flights, asked) = (Flights::default(), Cell::new(0));
        let ask = async || {
            asked.set(asked.get() + 1);
            yield_now().await;
            if asked.get() == 1 { Err(()) } else { Ok(()) }
        };
        let answers = join_all((0..3).map(|_| flights.join("key", ask))).await;
        assert_eq!(answers, [Err(()), Ok(()), Ok(())]);
        assert_eq!(asked.get(), 2);
    }
}

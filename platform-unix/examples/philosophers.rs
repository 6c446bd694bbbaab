//! The dining philosophers, on several domains; `matou_unix::tutorial::philosophers` tells the story.
//!
//! Philosophers sit around a table, with one fork between each two; to eat, one needs both forks at its sides. With `forks` each takes the
//! left one and then the right one, and they starve. With `table` they wait at a table that gives both forks at once.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use matou_unix::sync::{Condition, Mutex};
use matou_unix::{Builder, await_all, call, spawn, time, yield_now};

/// Takes the left fork, then the right one, and eats.
async fn eat_fork_by_fork(forks: Arc<Vec<Mutex<()>>>, seat: usize) {
    let _left = forks[seat].lock().await;
    // The others take theirs.
    yield_now().await;
    let _right = forks[(seat + 1) % forks.len()].lock().await;
    println!("philosopher {seat} eats");
}

async fn dinner_with_forks(seats: usize) -> io::Result<()> {
    let forks = Arc::new((0..seats).map(|_| Mutex::new(())).collect::<Vec<_>>());
    let dinner = {
        let forks = forks.clone();
        async move { await_all((0..seats).map(|seat| spawn(eat_fork_by_fork(forks.clone(), seat))).collect()).await }
    };
    if time::timeout(Duration::from_millis(100), dinner).await.is_err() {
        // The philosophers are cancelled: before anybody else runs here, they are dropped, and what they hold with them.
        yield_now().await;
        let held = forks.iter().filter(|fork| fork.try_lock().is_none()).count();
        println!("nobody ate: the dinner was cancelled, and {held} forks are still held");
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Thinking,
    Hungry,
    Eating,
}

/// Who is in which state, and where each waits for its forks.
struct Table {
    states: Mutex<Vec<State>>,
    may_eat: Vec<Condition>,
}

impl Table {
    fn new(seats: usize) -> Table {
        Table { states: Mutex::new(vec![State::Thinking; seats]), may_eat: (0..seats).map(|_| Condition::new()).collect() }
    }

    /// Waits until both forks are there.
    async fn take_forks(&self, seat: usize) {
        let mut states = self.states.lock().await;
        states[seat] = State::Hungry;
        self.serve(&mut states, seat);
        let _states = self.may_eat[seat].wait_while(states, |states| states[seat] != State::Eating).await;
    }

    /// Gives the forks back, and lets the neighbours eat who waited for them.
    async fn put_down_forks(&self, seat: usize) {
        let mut states = self.states.lock().await;
        states[seat] = State::Thinking;
        for neighbour in self.neighbours(seat) {
            self.serve(&mut states, neighbour);
        }
    }

    /// Lets one eat who is hungry and whose neighbours do not eat.
    fn serve(&self, states: &mut [State], seat: usize) {
        if states[seat] == State::Hungry && self.neighbours(seat).iter().all(|&neighbour| states[neighbour] != State::Eating) {
            states[seat] = State::Eating;
            self.may_eat[seat].signal();
        }
    }

    fn neighbours(&self, seat: usize) -> [usize; 2] {
        let seats = self.may_eat.len();
        [(seat + seats - 1) % seats, (seat + 1) % seats]
    }
}

/// Eats so many meals.
async fn philosopher(table: Arc<Table>, seat: usize, meals: usize) -> usize {
    for _ in 0..meals {
        table.take_forks(seat).await;
        yield_now().await;
        table.put_down_forks(seat).await;
        yield_now().await;
    }
    meals
}

/// Falls asleep over its meal.
async fn sleeper(table: Arc<Table>, seat: usize) {
    table.take_forks(seat).await;
    time::sleep(Duration::from_secs(3600)).await;
}

async fn dinner_at_table(seats: usize, meals: usize) -> io::Result<()> {
    let table = Arc::new(Table::new(seats));
    // Philosopher 0 has its forks before the others come.
    let asleep = spawn(sleeper(table.clone(), 0));
    yield_now().await;
    let mut promises = Vec::new();
    for seat in 1..seats {
        let table = table.clone();
        promises.push(call(move || philosopher(table, seat, meals))?);
    }
    asleep.cancel().await;
    table.put_down_forks(0).await;
    println!("philosopher 0 fell asleep and was woken");
    for (seat, meals) in (1..seats).zip(await_all(promises).await) {
        println!("philosopher {seat} ate {} times", meals?);
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |word: &str, least| word.parse().ok().filter(|&number: &usize| (least..=1000).contains(&number));
    let runtime = Builder::new().domains(2);
    let ran = match args.as_slice() {
        ["forks", seats] if let Some(seats) = number(seats, 3) => runtime.run(dinner_with_forks(seats)),
        ["table", seats, meals] if let (Some(seats), Some(meals)) = (number(seats, 3), number(meals, 0)) => {
            runtime.run(dinner_at_table(seats, meals))
        }
        _ => {
            eprintln!("usage: philosophers forks PHILOSOPHERS | table PHILOSOPHERS MEALS");
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

//! Command line arguments: `--name value`, `--flag`, and what is left, in order.
//!
//! Each `take` removes what it understood; [`Args::finish`] refuses whatever nobody asked for, so that a misspelt option is
//! an error and not a benchmark of something else.

use std::fmt::Display;
use std::str::FromStr;

/// Arguments not yet taken.
#[derive(Debug)]
pub struct Args {
    rest: Vec<String>,
}

impl Args {
    /// From what follows the program's (or the subcommand's) name.
    pub fn new(rest: impl IntoIterator<Item = String>) -> Self {
        Self { rest: rest.into_iter().collect() }
    }

    /// Takes `--name value`, parsed, if it is there. The first of several counts; the others stay.
    pub fn option<T>(&mut self, name: &str) -> Result<Option<T>, String>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(at) = self.rest.iter().position(|arg| arg == name) else {
            return Ok(None);
        };
        if at + 1 >= self.rest.len() {
            return Err(format!("{name} needs a value"));
        }
        let value = self.rest.remove(at + 1);
        self.rest.remove(at);
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("{name} {value}: {error}")),
        }
    }

    /// Takes `--name a,b,c`, each parsed, if it is there.
    pub fn list<T>(&mut self, name: &str) -> Result<Option<Vec<T>>, String>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.option::<String>(name)? else {
            return Ok(None);
        };
        text.split(',')
            .map(|item| item.parse().map_err(|error| format!("{name} {text}: {item}: {error}")))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Takes `--name`, and says whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.rest.iter().position(|arg| arg == name);
        at.map(|at| self.rest.remove(at)).is_some()
    }

    /// Takes the first argument that is left.
    pub fn next(&mut self, what: &str) -> Result<String, String> {
        if self.rest.is_empty() {
            return Err(format!("{what} is missing"));
        }
        Ok(self.rest.remove(0))
    }

    /// Everything that is left, as it is.
    pub fn into_rest(self) -> Vec<String> {
        self.rest
    }

    /// An error if anything is left.
    pub fn finish(self) -> Result<(), String> {
        match self.rest.first() {
            None => Ok(()),
            Some(arg) => Err(format!("what is {arg}?")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_lists_and_the_rest() {
        let mut args = args("here --size 64 --sleep --connections 1,50");
        assert_eq!(args.option("--size"), Ok(Some(64)));
        assert_eq!(args.list("--connections"), Ok(Some(vec![1, 50])));
        assert_eq!(args.option::<u32>("--rounds"), Ok(None));
        assert!(args.flag("--sleep") && !args.flag("--sleep"));
        assert_eq!(args.next("ADDR").as_deref(), Ok("here"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn errors_name_the_option() {
        assert_eq!(args("--size").option::<u32>("--size"), Err("--size needs a value".into()));
        assert!(args("--size x").option::<u32>("--size").is_err_and(|error| error.starts_with("--size x: ")));
        assert_eq!(args("--sise 1").finish(), Err("what is --sise?".into()));
    }
}

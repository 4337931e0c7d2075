//! An AGI program that reads its environment and ends: what a program for each call costs at least.

use std::io::BufRead;

fn main() {
    for line in std::io::stdin().lock().lines() {
        if line.is_ok_and(|line| line.is_empty()) {
            break;
        }
    }
}

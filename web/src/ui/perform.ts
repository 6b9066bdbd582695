/** Carries out what a person asked for, and announces how it went. */

import { message } from "../api/http";
import { confirmed } from "./dialog";
import { announce } from "./notes";

/** What was done, for the announcement; nothing where the view itself shows it. */
type Done = string | undefined;

/** Run a change; announce what it returns, or why it failed. Returns whether it succeeded. */
export async function perform(change: () => Promise<Done>): Promise<boolean> {
  try {
    const done = await change();
    if (done !== undefined) announce(done);
    return true;
  } catch (error) {
    announce(message(error), "problem");
    return false;
  }
}

interface Question {
  title: string;
  text: string;
  /** Name of the button that goes on. */
  action: string;
}

/** Ask first, for a change that can't be undone. Returns whether it was carried out. */
export async function performIfConfirmed(
  question: Question,
  change: () => Promise<Done>,
): Promise<boolean> {
  return (await confirmed({ ...question, danger: true })) && (await perform(change));
}

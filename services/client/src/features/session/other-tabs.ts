const NAME = "chat.session";

/** Tells the other tabs of this browser that nobody is signed in any more. */
export function announceSignOut() {
  const channel = new BroadcastChannel(NAME);
  channel.postMessage("signed out");
  channel.close();
}

export function onSignOutElsewhere(leave: () => void): () => void {
  const channel = new BroadcastChannel(NAME);
  channel.onmessage = leave;
  return () => channel.close();
}

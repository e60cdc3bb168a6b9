// Copying of commands, and a word when the server no longer answers. Without this file both are only less convenient.
document.querySelectorAll("pre[data-copy]").forEach((block) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.innerText.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.before(button);
});
const silent = document.getElementById("no-answer");
if (silent) {
  document.addEventListener("htmx:error", () => { silent.hidden = false; });
  document.addEventListener("htmx:after:request", () => { silent.hidden = true; });
}

// Text that scrolls sideways must be reachable without a mouse.
function reachable() {
  for (const box of document.querySelectorAll(".bd-article pre, .bd-article table, .bd-article .formula, .bd-article .cell_output .output")) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (scrolls) box.tabIndex = 0;
    else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
// The theme's sidebar folds by a sign without words.
addEventListener("DOMContentLoaded", () => {
  for (const fold of document.querySelectorAll("summary"))
    if (!fold.textContent.trim()) fold.setAttribute("aria-label", "Show or hide the pages below");
});
// A link to a folded section opens it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const section = target && (target.tagName === "SECTION" ? target : target.parentElement); // or a second name in it
  const fold = target && (target.closest("details") || section.querySelector(":scope > details.deeper"));
  if (fold) fold.open = true;
}
addEventListener("load", unfold);
addEventListener("hashchange", unfold);

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
// Explorations that work without a kernel, on the pages that have one.
const statics = document.currentScript.src.replace(/course\.js.*/, "");
addEventListener("DOMContentLoaded", () => {
  if (!document.querySelector("[data-explore]")) return;
  for (const name of ["explore-data.js", "explore.js"]) {
    const script = document.createElement("script");
    script.src = statics + name;
    script.async = false; // one after the other
    document.head.append(script);
  }
});
// The search shows words of a page's text, not of the menus around it.
addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const whole = Search.htmlToText;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const article = page.querySelector("article.bd-article");
    if (article) page.querySelector('[role="main"]')?.replaceChildren(article);
    return whole(page.documentElement.outerHTML, anchor);
  };
});

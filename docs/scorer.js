// Lessons are found before pages about the package; the numbers beside `score` are those of Sphinx.
var Scorer = {
  score: ([page, , , , points]) => points + (page.startsWith("notebooks/") ? 40 : 0),
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};

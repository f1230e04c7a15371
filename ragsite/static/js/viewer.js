// The source viewer: go to the marked passage, also when pages above it get their height only now.
import { showPassage, watchPictures } from "./passage.js";

const main = document.querySelector(".viewer-main");
watchPictures(main);
if (location.search) showPassage(main);

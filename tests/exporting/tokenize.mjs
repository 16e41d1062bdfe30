// Reads {tokenizers: [{described, texts, ids}]} as JSON; answers with what the page's tokenizers make of them.
import fs from "node:fs";
import vm from "node:vm";

vm.runInThisContext(fs.readFileSync(process.argv[2], "utf8"));
const answers = JSON.parse(fs.readFileSync(0, "utf8")).map(({described, texts, ids}) => {
  const tokenizer = vm.runInThisContext("tokenizerOf")(described);
  const encode = text => {
    try {
      return Array.from(tokenizer.encode(text), one => typeof one === "number" ? one : Array.from(one));
    } catch (problem) {
      if (problem.constructor.name === "TextError") return null;
      throw problem;
    }
  };
  return {encoded: texts.map(encode), decoded: ids.map(one => tokenizer.decode(one))};
});
fs.writeSync(1, JSON.stringify(answers));

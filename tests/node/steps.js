// Each line of the standard input names a step; each gets a line of JSON.
const readline = require("readline");

exports.answerSteps = async (steps) => {
  for await (const step of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = await steps[step]();
    } catch (error) {
      answer = { error: String(error) };
    }
    console.log(JSON.stringify(answer));
  }
};

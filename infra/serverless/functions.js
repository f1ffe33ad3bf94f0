// The functions, the queue, and what is watched. Schedules are
// those of the definitions in reporting_jobs/reports/; a test holds them against each other.

"use strict";

const RECEIVES = 5;
const SECONDS = 900;

// name: [schedule, memory in MB]
const REPORTS = {
  access_review: ["cron(0 6 1 * ? *)", 1024],
  audit_seal: ["cron(10 * * * ? *)", 1024],
  audit_verify: ["cron(30 1 * * ? *)", 1024],
  breach_notification: [null, 1024],
  chargeback_file: [null, 1024],
  pci_inventory: ["cron(0 4 1 * ? *)", 1024],
  retention_purge: ["cron(0 3 ? * SUN *)", 1024],
  sanctions_screening: ["cron(0 2 * * ? *)", 2048],
  subject_access: [null, 1024],
};

// Parts of heavy runs, and runs that cannot be made now, go to the queue.
const QUEUE_URL = { STRONGROOM_REPORT_QUEUE_URL: { Ref: "ReportQueue" } };

const camel = (name) => name.replace(/(^|_)([a-z])/g, (_, __, letter) => letter.toUpperCase());
const hyphens = (name) => name.replace(/_/g, "-");
const sub = (text) => ({ "Fn::Sub": text });
const arn = (resource) => ({ "Fn::GetAtt": [resource, "Arn"] });
// Each function's role is made by infra/terraform (modules/identity/jobs.tf), with a boundary
// that no deployment of functions can widen: whoever deploys here needs to pass roles, not to
// make them.
const roleOf = (name) => `\${ssm:/strongroom/\${sls:stage}/reports/roles/${hyphens(name)}}`;

const alarm = (description, namespace, metric, dimensions, more = {}) => ({
  Type: "AWS::CloudWatch::Alarm",
  Properties: {
    AlarmDescription: description,
    Namespace: namespace,
    MetricName: metric,
    Dimensions: dimensions,
    Statistic: "Sum",
    Period: 300,
    EvaluationPeriods: 1,
    Threshold: 0,
    ComparisonOperator: "GreaterThanThreshold",
    TreatMissingData: "notBreaching",
    AlarmActions: ["${self:custom.alarms}"],
    ...more,
  },
});

const queue = (name, days, more = {}) => ({
  Type: "AWS::SQS::Queue",
  Properties: {
    QueueName: name,
    MessageRetentionPeriod: days * 86400,
    SqsManagedSseEnabled: true,
    ...more,
  },
});

const onlyOverTls = (resource) => ({
  Type: "AWS::SQS::QueuePolicy",
  Properties: {
    Queues: [{ Ref: resource }],
    PolicyDocument: {
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Deny",
          Principal: "*",
          Action: "sqs:*",
          Resource: arn(resource),
          Condition: { Bool: { "aws:SecureTransport": "false" } },
        },
      ],
    },
  },
});

const failures = (logGroup) => ({
  Type: "AWS::Logs::MetricFilter",
  Properties: {
    LogGroupName: { Ref: logGroup },
    FilterPattern: '?report_run_failed ?report_order_refused',
    MetricTransformations: [
      { MetricName: "ReportFailures", MetricNamespace: "Strongroom", MetricValue: "1" },
    ],
  },
});

const functions = {};
const Resources = {
  ReportQueue: queue("${self:service}-${sls:stage}", 4, {
    // A message comes again when no process can still be at work on it.
    VisibilityTimeout: SECONDS + 60,
    RedrivePolicy: { deadLetterTargetArn: arn("ReportDeadLetters"), maxReceiveCount: RECEIVES },
  }),
  ReportDeadLetters: queue("${self:service}-${sls:stage}-dead", 14, {
    RedriveAllowPolicy: {
      redrivePermission: "byQueue",
      sourceQueueArns: [
        sub("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${self:service}-${sls:stage}"),
      ],
    },
  }),
  ReportQueuePolicy: onlyOverTls("ReportQueue"),
  ReportDeadLettersPolicy: onlyOverTls("ReportDeadLetters"),
  DeadLettersAlarm: alarm(
    "A work order was given up: look at it, then start the redrive.",
    "AWS/SQS",
    "ApproximateNumberOfMessagesVisible",
    [{ Name: "QueueName", Value: { "Fn::GetAtt": ["ReportDeadLetters", "QueueName"] } }],
    { Statistic: "Maximum" },
  ),
  ReportFailuresAlarm: alarm(
    "A report failed, or a work order was refused.",
    "Strongroom",
    "ReportFailures",
    [],
  ),
};

const add = (name, handler, memory, more) => {
  const id = camel(name);
  const fullName = "${self:service}-${sls:stage}-" + hyphens(name);
  functions[id] = {
    handler: `reporting_jobs.handlers.${handler}`,
    name: fullName,
    role: roleOf(name),
    memorySize: memory,
    timeout: SECONDS,
    ...more,
  };
  Resources[`${id}ErrorsAlarm`] = alarm(
    `The function of ${name} fails or runs out of time.`,
    "AWS/Lambda",
    "Errors",
    [{ Name: "FunctionName", Value: fullName }],
  );
  Resources[`${id}Failures`] = failures(`${id}LogGroup`);
};

for (const [name, [schedule, memory]] of Object.entries(REPORTS)) {
  const events = schedule === null ? [] : [{ schedule: { rate: [schedule], enabled: true } }];
  add(name, name, memory, {
    reservedConcurrency: 1,
    maximumRetryAttempts: 2,
    maximumEventAge: 21600,
    onError: arn("ReportDeadLetters"),
    environment: QUEUE_URL,
    events,
  });
}

add("queue_worker", "queue_worker", 1024, {
  reservedConcurrency: 4,
  environment: {
    ...QUEUE_URL,
    // The worker takes the role of an order's report on to ask the vault as that job.
    STRONGROOM_REPORT_ROLE_ARN: sub(
      "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/report-{report}",
    ),
  },
  events: [
    {
      sqs: {
        arn: arn("ReportQueue"),
        batchSize: 1,
        functionResponseType: "ReportBatchItemFailures",
        maximumConcurrency: 4,
      },
    },
  ],
});

module.exports = {
  functions,
  resources: {
    Description: "Report jobs of Strongroom",
    Resources,
    Outputs: { ReportQueueUrl: { Value: { Ref: "ReportQueue" } } },
  },
};

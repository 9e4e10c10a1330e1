import type { Topic } from './topic.ts';

/** Topics in Russian, Chinese, Spanish and German, so that the data has text in several scripts. */
export const OTHER_LANGUAGE_TOPICS: readonly Topic[] = [
  {
    category: 'engineering',
    project: 'migration',
    language: 'ru',
    tags: ['миграция', 'postgres', 'данные'],
    labels: ['миграция-данных', 'ночной-отчёт'],
    titles: ['Перенос таблицы {table}', 'Отчёт о ночной проверке', 'Ошибка в сервисе {service}'],
    tasks: ['Перенести таблицу {table} в новую схему без остановки сервиса.'],
    openings: [
      'Привет! Нужно перенести таблицу {table} в новую схему без простоя. С чего начнём?',
      'Сервис {service} после обновления отвечает ошибкой на каждый десятый запрос. Посмотри, пожалуйста, журналы.',
    ],
    requests: [
      'А что будет, если перенос прервётся на середине?',
      'Проверь ещё раз количество строк.',
      'Сколько времени это займёт ночью?',
      'Отлично, запускай 🚀',
    ],
    answers: [
      'Сначала создаём новую таблицу и триггер, затем копируем данные частями по {number} строк и сверяем контрольные суммы.',
      'В журнале видно, что соединение закрывается раньше времени: сервер обрывает его через {number} секунд.',
      'Перенос завершён, строк столько же, сколько в источнике. Расхождений не найдено.',
    ],
    details: [
      'Старую таблицу я пока оставил, её можно удалить в пятницу.',
      'Нагрузка на базу во время копирования не поднималась выше {percent} %.',
      'Об этом уже знает {person}.',
    ],
    thoughts: [
      'Если копировать одной транзакцией, очистка остановится на всё время переноса. Лучше частями.',
      'Сначала нужно понять, кто закрывает соединение: клиент или сервер.',
    ],
    tools: [
      {
        name: 'sql',
        arguments: { query: 'select count(*) from {table}' },
        results: [' count\n-------\n {number}421', ' count\n-------\n     0'],
        failure: 'ОШИБКА: отношение "{table}" не существует',
      },
    ],
  },
  {
    category: 'research',
    project: '翻译',
    language: 'zh',
    tags: ['翻译', '摘要', '研究'],
    labels: ['每周摘要', '论文翻译'],
    titles: ['翻译 {city} 的报告', '本周技术摘要', '会议记录整理'],
    tasks: ['把 {city} 的季度报告翻译成中文并写摘要。'],
    openings: ['请把这份关于 {city} 的报告翻译成中文，并写一个三句话的摘要。', '帮我整理昨天会议的要点，发给 {person}。'],
    requests: ['第二段可以更简洁一些吗？', '请核对里面的数字。', '很好，谢谢！👏', '把专业术语单独列一个表。'],
    answers: [
      '翻译已经完成，共 {number} 段。摘要如下：市场增长放缓，但线上渠道上升了 {percent}%。',
      '会议有三个结论：推迟发布、增加测试、由 {person} 负责数据库迁移。',
      '数字已经核对，原文第三页有一处笔误，我在译文里加了说明。',
    ],
    details: ['术语表附在文末。', '如果需要，我可以再做一个英文版本。', '全文搜索现在也支持中文词语。'],
    thoughts: ['原文的语气比较正式，译文也要保持一致。', '这里的“会话”应当译为 session，而不是 meeting。'],
    tools: [
      {
        name: 'translate',
        arguments: { source: 'en', target: 'zh', document: 'report-{number}.md' },
        results: ['已翻译 {number} 段。', '已翻译 12 段，2 段需要人工检查。'],
        failure: '翻译服务暂时不可用。',
      },
    ],
  },
  {
    category: 'support',
    project: 'helpdesk',
    language: 'es',
    tags: ['cliente', 'envío'],
    labels: ['pedido-perdido'],
    titles: ['Pedido {number} sin entregar', 'Cambio de dirección a {city}'],
    tasks: ['Resolver la reclamación del pedido {number}.'],
    openings: ['Hola, mi pedido {number} todavía no ha llegado a {city}. ¿Qué ha pasado?'],
    requests: ['¿Y cuándo llegará?', 'Prefiero que me devuelvan el dinero.', '¡Muchas gracias! 😊'],
    answers: [
      'El paquete está retenido en la aduana; lo liberan en unas {number} horas.',
      'He cambiado la dirección y recibirá un correo con el nuevo número.',
    ],
    details: ['Disculpe las molestias, {person}.', 'El próximo envío es gratuito.'],
    thoughts: ['La clienta pregunta por la fecha, no por la causa: responder primero a eso.'],
    tools: [
      {
        name: 'order_lookup',
        arguments: { order: '{number}', fields: 'status' },
        results: ['{"status":"held"}', '{"status":"delivered"}'],
        failure: 'No existe ningún pedido con ese número.',
      },
    ],
  },
  {
    category: 'operations',
    project: 'infrastructure',
    language: 'de',
    tags: ['zertifikat', 'störung'],
    labels: ['zertifikats-wechsel'],
    titles: ['Zertifikat von {service} läuft ab', 'Störung in {city}'],
    tasks: ['Das Zertifikat von {service} erneuern, ohne Verbindungen zu trennen.'],
    openings: ['Das Zertifikat von {service} läuft in {number} Tagen ab. Bitte erneuere es, ohne bestehende Verbindungen zu trennen.'],
    requests: ['Läuft der Dienst in {city} noch?', 'Größe und Laufzeit bitte noch einmal prüfen.', 'Danke, das genügt ✅'],
    answers: [
      'Das neue Zertifikat ist eingespielt; alle {number} Verbindungen blieben bestehen.',
      'Die Störung betrifft nur {city}: ein Verteiler antwortet zu langsam.',
    ],
    details: ['Die Überwachung warnt künftig schon dreißig Tage vorher.', '{person} übernimmt die Nachbereitung.'],
    thoughts: ['Erst das neue Zertifikat daneben legen, dann umschalten; so reißt keine Verbindung ab.'],
    tools: [
      {
        name: 'exec',
        arguments: { command: 'openssl x509 -enddate -noout -in /etc/ssl/{service}.pem' },
        results: ['notAfter=Feb 12 20:25:00 2027 GMT'],
        failure: 'Datei nicht gefunden.',
      },
    ],
  },
];
